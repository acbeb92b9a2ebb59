//! The guest's PID 1: starts the application, answers the host. All of it is in the library.

fn main() -> std::process::ExitCode {
    hearth_agent::run()
}
