//! Parameters of a request. Unknown ones are refused: a misspelt one must not be taken for its default.

use crate::fault::Fault;
use crate::uri::query_pairs;

/// Parameters of a presigned request, which are the signature's business.
const SIGNATURE_PREFIX: &str = "X-Amz-";

/// The values of the parameters `names`, in that order.
pub(super) fn parameters<const N: usize>(
    query: &str,
    names: [&str; N],
) -> Result<[Option<String>; N], Fault> {
    let mut values = [const { None }; N];
    for (name, value) in query_pairs(query) {
        if name.starts_with(SIGNATURE_PREFIX) {
            continue;
        }
        let Some(index) = names.iter().position(|known| *known == name) else {
            let known = names.join(", ");
            return Err(Fault::validation(format!(
                "Unknown parameter '{name}'; known are: {known}"
            )));
        };
        if values[index].replace(value).is_some() {
            return Err(Fault::validation(format!(
                "Parameter '{name}' stands there twice"
            )));
        }
    }
    Ok(values)
}

/// The path of a file in the guest.
pub(super) fn file_path(path: Option<String>) -> Result<String, Fault> {
    let path = path.ok_or_else(|| Fault::validation("Parameter 'path' is missing"))?;
    if !path.starts_with('/') || path.contains('\0') {
        return Err(Fault::validation(
            "Parameter 'path' must be an absolute path",
        ));
    }
    if path.ends_with('/') {
        return Err(directory(&path));
    }
    Ok(path)
}

fn directory(path: &str) -> Fault {
    Fault::validation(format!(
        "{path} is a directory; pack it with exec (tar) and transfer the archive"
    ))
}
