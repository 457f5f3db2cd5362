//! The small examples, as they are.

use super::Times;
use log::{LevelFilter, Log, Metadata, Record};
use std::error::Error;
use std::sync::Mutex;

/// Declares each example as a module and an entry of the table of programs.
macro_rules! programs {
    ($($name:ident: $file:literal;)*) => {
        $(
            #[path = $file]
            mod $name;
        )*

        pub(super) const NAMES: [&str; [$(stringify!($name)),*].len()] = [$(stringify!($name)),*];

        /// Runs an example.
        fn start(name: &str) -> Result<(), Box<dyn Error>> {
            match name {
                $(stringify!($name) => $name::main().map_err(Into::into),)*
                other => Err(format!("there is no program {other}").into()),
            }
        }
    };
}

programs! {
    first_tensors: "../../examples/first_tensors.rs";
    fused_expression: "../../examples/fused_expression.rs";
    own_kernel: "../../examples/own_kernel.rs";
    convolution: "../../examples/convolution.rs";
    f16: "../../examples/f16.rs";
    existing_device: "../../examples/existing_device.rs";
    pipeline_cache: "../../examples/pipeline_cache.rs";
}

/// Keeps the message with the times of the first result.
struct FirstResult(Mutex<Option<String>>);

static FIRST_RESULT: FirstResult = FirstResult(Mutex::new(None));

impl Log for FirstResult {
    fn enabled(&self, _: &Metadata<'_>) -> bool {
        true
    }

    fn log(&self, record: &Record<'_>) {
        let message = record.args().to_string();
        if message.contains("first result after") {
            if let Ok(mut first) = self.0.lock() {
                first.get_or_insert(message);
            }
        }
    }

    fn flush(&self) {}
}

/// Runs an example, and returns the times up to its first result.
pub(super) fn run(name: &str) -> Result<Times, Box<dyn Error>> {
    log::set_logger(&FIRST_RESULT).map_err(|error| error.to_string())?;
    log::set_max_level(LevelFilter::Debug);
    start(name)?;
    let message = FIRST_RESULT.0.lock().map_err(|error| error.to_string())?.take();
    let message = message.ok_or("the program read no result")?;
    let numbers = message.split(|c: char| !c.is_ascii_digit() && c != '.').filter_map(|text| text.parse().ok());
    let [adapter, device, kernels, shaders, pipelines, first] = numbers.collect::<Vec<f64>>()[..] else {
        return Err(format!("six numbers were expected in {message}").into());
    };
    Ok(Times { adapter, device, kernels, shaders, pipelines, first, ..Times::default() })
}
