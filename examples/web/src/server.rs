//! A server of a folder's files, for pages: browsers load no WebAssembly from files.

use std::fs;
use std::io::{BufRead, BufReader, Write};
use std::net::{TcpListener, TcpStream};
use std::path::{Component, Path, PathBuf};

/// Serves the files of a folder on a port of this machine, 0 for any free one, until the process ends. Returns the address.
pub(crate) fn serve(folder: PathBuf, port: u16) -> std::io::Result<String> {
    let listener = TcpListener::bind(("127.0.0.1", port))?;
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

/// Returns the type and the bytes of the file that a request's first line names.
fn file(request: &str, folder: &Path) -> Option<(&'static str, Vec<u8>)> {
    let path = request.strip_prefix("GET /")?.split([' ', '?']).next()?;
    let path = Path::new(if path.is_empty() { "index.html" } else { path });
    if !path.components().all(|part| matches!(part, Component::Normal(_))) {
        return None;
    }
    let kind = match path.extension()?.to_str()? {
        "html" => "text/html; charset=utf-8",
        "css" => "text/css; charset=utf-8",
        "js" => "text/javascript; charset=utf-8",
        "wasm" => "application/wasm",
        _ => return None,
    };
    Some((kind, fs::read(folder.join(path)).ok()?))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_pages_of_the_folder_and_of_those_below_are_served() -> std::io::Result<()> {
        let outer = std::env::temp_dir().join(format!("wgpu-pool-served-{}", std::process::id()));
        let folder = outer.join("page");
        fs::create_dir_all(folder.join("below"))?;
        for name in ["index.html", "a.css", "below/a.js", "a.toml", "../outside.js"] {
            fs::write(folder.join(name), name)?;
        }
        let kind = |path: &str| file(&format!("GET /{path} HTTP/1.1"), &folder).map(|(kind, _)| kind);
        assert_eq!(kind("index.html?again"), Some("text/html; charset=utf-8"));
        assert_eq!(kind(""), Some("text/html; charset=utf-8"));
        assert_eq!(kind("a.css"), Some("text/css; charset=utf-8"));
        assert_eq!(kind("below/a.js"), Some("text/javascript; charset=utf-8"));
        for path in
            ["none.js", "a.toml", "../outside.js", "below/../../outside.js", "/outside.js", "%2e%2e/outside.js", "."]
        {
            assert_eq!(kind(path), None, "{path}");
        }
        assert_eq!(file("POST / HTTP/1.1", &folder), None);
        fs::remove_dir_all(&outer)
    }
}
