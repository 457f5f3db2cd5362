//! A server of a folder's files, for pages: a browser loads no WebAssembly from files.

use std::fs;
use std::io::{BufRead, BufReader, Write};
use std::net::{TcpListener, TcpStream};
use std::path::{Path, PathBuf};

/// Serves the files of a folder until the process ends. Returns the address of the folder.
pub(crate) fn serve(folder: PathBuf) -> std::io::Result<String> {
    let listener = TcpListener::bind("127.0.0.1:0")?;
    let address = listener.local_addr()?;
    std::thread::spawn(move || {
        for stream in listener.incoming().flatten() {
            let folder = folder.clone();
            std::thread::spawn(move || answer(stream, &folder));
        }
    });
    Ok(format!("http://{address}"))
}

/// Answers one request. The connection then ends.
fn answer(mut stream: TcpStream, folder: &Path) -> std::io::Result<()> {
    let mut lines = BufReader::new(stream.try_clone()?).lines();
    let request = lines.next().transpose()?.unwrap_or_default();
    // An answer before the end of the request would reset the connection.
    for line in lines {
        if line?.is_empty() {
            break;
        }
    }
    let (status, kind, body) = match file(&request, folder) {
        Some((kind, body)) => ("200 OK", kind, body),
        None => ("404 Not Found", "text/plain", b"no such file".to_vec()),
    };
    write!(
        stream,
        "HTTP/1.1 {status}\r\nContent-Type: {kind}\r\nContent-Length: {}\r\nConnection: close\r\n\r\n",
        body.len()
    )?;
    stream.write_all(&body)
}

/// Returns the type and the bytes of the file that a request's first line names. Folders below the served one are not served.
fn file(request: &str, folder: &Path) -> Option<(&'static str, Vec<u8>)> {
    let path = request.strip_prefix("GET /")?.split([' ', '?']).next()?;
    let name = if path.is_empty() { "index.html" } else { path };
    if name.contains(['/', '\\']) || name.starts_with('.') {
        return None;
    }
    let kind = match name.rsplit_once('.')?.1 {
        "html" => "text/html; charset=utf-8",
        "js" => "text/javascript",
        "wasm" => "application/wasm",
        _ => return None,
    };
    Some((kind, fs::read(folder.join(name)).ok()?))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_files_of_the_folder_are_served() {
        let folder = Path::new(env!("CARGO_MANIFEST_DIR"));
        let kind = |request: &str| file(request, folder).map(|(kind, _)| kind);
        assert_eq!(kind("GET /index.html?again HTTP/1.1"), Some("text/html; charset=utf-8"));
        assert_eq!(kind("GET / HTTP/1.1"), Some("text/html; charset=utf-8"));
        for request in ["GET /Cargo.toml HTTP/1.1", "GET /../driver/index.html HTTP/1.1", "POST / HTTP/1.1", ""] {
            assert_eq!(kind(request), None, "{request}");
        }
    }
}
