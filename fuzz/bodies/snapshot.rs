//! The reader of snapshot files: every report and export accepts what the reader accepts.

use crate::input::Input;
use serde_json::Value;
use std::sync::LazyLock;
use wgpu_pool::{HostMemory, Pool, PoolOptions, Snapshot};

/// A file with every kind of content.
static FILE: LazyLock<Value> = LazyLock::new(|| {
    let options = PoolOptions {
        limit: Some(64 << 20),
        small_limit: 4096,
        smallest_segment: Some(65536),
        ..PoolOptions::default()
    };
    let pool = Pool::new(HostMemory::default(), options).expect("valid options");
    pool.start_history(64);
    let allocate = |bytes| pool.allocate(bytes).expect("there is room");
    let first = allocate(1000);
    first.set_label("</script><b>&");
    let outer = pool.scope("outer");
    let second = allocate(70_000);
    let inner = pool.scope("inner");
    let third = allocate(200);
    drop((inner, outer, second));
    let fourth = allocate(9000);
    let pin = fourth.pin().expect("a host memory takes every command");
    drop(third);
    pool.trim();
    let text = pool.snapshot().to_json();
    drop((first, fourth, pin));
    serde_json::from_str(&text).expect("it was just written")
});

pub(crate) fn run(data: &[u8]) {
    let mut input = Input::new(data);
    if input.byte() & 1 == 0 {
        if let Some(snapshot) = std::str::from_utf8(input.rest()).ok().and_then(|text| Snapshot::from_json(text).ok()) {
            use_all(&snapshot);
        }
        return;
    }
    let mut file = FILE.clone();
    while !input.is_empty() {
        let (place, kind, argument) = (input.two(), input.byte(), input.byte());
        let values = count(&file);
        let other = nth(&mut file, &mut (usize::from(argument) * 7 % values)).map(|value| value.clone());
        let mut place = usize::try_from(place).unwrap_or(0) % values;
        if let Some(value) = nth(&mut file, &mut place) {
            change(value, kind, argument, other);
        }
        if let Ok(snapshot) = Snapshot::from_json(&file.to_string()) {
            use_all(&snapshot);
        }
    }
}

/// Calls everything that can be done with a snapshot.
fn use_all(snapshot: &Snapshot) {
    let texts = [
        snapshot.to_html(),
        snapshot.to_html_comparison(snapshot),
        snapshot.to_trace(),
        snapshot.to_chrome_trace(),
        snapshot.to_map(80, 20),
        snapshot.to_map(0, 0),
        snapshot.to_map(3, 1),
        snapshot.report().to_string(),
        snapshot.report().to_log_line(),
        format!("{snapshot:?}"),
    ];
    assert!(texts.iter().filter(|text| text.is_empty()).count() <= 1, "only a trace may be empty");
    assert_eq!(snapshot.to_memory_viz_json().is_ok(), snapshot.to_memory_viz_pickle().is_ok());
    for scope in 0..u32::try_from(snapshot.scopes.len()).unwrap_or(0) + 2 {
        let _ = snapshot.scope_path(scope);
    }
    let text = snapshot.to_json();
    let again = Snapshot::from_json(&text).expect("what was written is read");
    assert_eq!(again.to_json(), text);
}

/// The number of values in a value, including the value itself.
fn count(value: &Value) -> usize {
    1 + match value {
        Value::Array(values) => values.iter().map(count).sum(),
        Value::Object(members) => members.values().map(count).sum(),
        _ => 0,
    }
}

/// The n-th of these values.
fn nth<'a>(value: &'a mut Value, n: &mut usize) -> Option<&'a mut Value> {
    if *n == 0 {
        return Some(value);
    }
    *n -= 1;
    match value {
        Value::Array(values) => values.iter_mut().find_map(|value| nth(value, n)),
        Value::Object(members) => members.values_mut().find_map(|value| nth(value, n)),
        _ => None,
    }
}

fn change(value: &mut Value, kind: u8, argument: u8, other: Option<Value>) {
    let number = value.as_u64();
    match (kind % 20, &mut *value) {
        (14, _) => *value = other.unwrap_or_default(),
        (15, Value::Array(values)) => values.extend(values.first().cloned()),
        (16, Value::Array(values)) => values.reverse(),
        (18, _) => *value = number.map_or(Value::Null, |number| number.wrapping_add(u64::from(argument)).into()),
        (19, Value::Array(values)) => drop(values.pop()),
        (kind, _) => {
            *value = match kind {
                0 => 0.into(),
                1 => u64::MAX.into(),
                2 => i64::MAX.into(),
                3 => i64::MIN.into(),
                4 => (1_u64 << 53).into(),
                5 => u32::MAX.into(),
                6 => Value::Null,
                7 => argument.into(),
                8 => "".into(),
                9 => "</script>\u{2028}\u{0}".into(),
                10 => Value::Array(Vec::new()),
                11 => 1e308.into(),
                12 => ((1_u64 << 53) - 1).into(),
                13 => true.into(),
                _ => (u64::from(argument) << 30).into(),
            };
        }
    }
}
