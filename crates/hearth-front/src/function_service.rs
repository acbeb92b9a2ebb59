//! What operations on functions are done with.

use std::sync::Arc;

use hearth_functions::Functions;
use hearth_objects::ObjectStore;

use crate::blocking_calls::BlockingCalls;

/// The path of all addresses of code.
pub(crate) const CODE_PATH: &str = "/hearth/v1/function-code";

/// The parts that operations on functions need.
pub(crate) struct FunctionService {
    pub(crate) store: Arc<Functions>,
    /// The objects that code comes from. `None` if another S3 is used.
    pub(crate) objects: Option<Arc<ObjectStore>>,
    pub(crate) places: Arc<BlockingCalls>,
}
