//! The guest's PID 1: starts the application and serves the host. The code is in the library.

fn main() -> std::process::ExitCode {
    hearth_agent::run()
}
