//! Parameters of a request. Unknown ones are refused: a misspelt parameter must not be taken for an absent one.

use crate::fault::Fault;
use crate::uri::query_pairs;

/// Parameters of a presigned request. They belong to the signature.
const SIGNATURE_PREFIX: &str = "X-Amz-";

/// The values of the parameters `names`, in their order.
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

/// What a path in the guest names.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Format {
    /// One regular file.
    File,
    /// A directory with everything in it.
    Tar,
}

impl Format {
    pub(super) fn read(format: Option<&str>) -> Result<Self, Fault> {
        match format {
            None => Ok(Self::File),
            Some("tar") => Ok(Self::Tar),
            Some(_) => Err(Fault::validation("Parameter 'format' must be tar")),
        }
    }
}

/// The path of a file or directory in the guest.
pub(super) fn guest_path(path: Option<String>, format: Format) -> Result<String, Fault> {
    let path = path.ok_or_else(|| Fault::validation("Parameter 'path' is missing"))?;
    if !path.starts_with('/') || path.contains('\0') {
        return Err(Fault::validation(
            "Parameter 'path' must be an absolute path",
        ));
    }
    if path.ends_with('/') && format == Format::File {
        return Err(Fault::validation(format!(
            "{path} is a directory; transfer it with format=tar"
        )));
    }
    Ok(path)
}
