//! The body of the fuzz target `image_store`.

use super::{Layers, MAX_LAYERS, diff_directory, find_image, parse_images};

/// Fuzz target: parses the two indexes of a store, separated by a zero byte. No chain may be longer than the limit, and
/// no part of a path may be a path itself.
pub fn indexes(input: &[u8]) {
    let end = input.iter().position(|byte| *byte == 0);
    let (images, layers) = input.split_at(end.unwrap_or(input.len()));
    let Ok(layers) = Layers::parse(layers.get(1..).unwrap_or_default()) else {
        return;
    };
    let Ok(images) = parse_images(images) else {
        return;
    };
    for image in &images {
        assert!(find_image(&images, &image.id).is_ok());
        let Ok((chain, _)) = layers.chain(image.layer.as_ref()) else {
            continue;
        };
        assert!(chain.len() <= MAX_LAYERS);
        for id in &chain {
            let path = diff_directory(id);
            assert_eq!(path.matches('/').count(), 2, "{path}");
            assert!(!path.contains(".."), "{path}");
        }
    }
}

#[cfg(test)]
mod tests {
    #[test]
    fn fuzz_image_store() {
        let words: &[&[u8]] = &[
            b"\"parent\":\"",
            b"\"id\":\"../../../../etc\"",
            b"\"layer\":null",
            b"[[[[",
            b"\0",
            b"\\u002e\\u002e\\u002f",
        ];
        hearth_corpus::run("image_store", words, super::indexes);
    }
}
