//! Files `0.bin`, `1.bin`, … whose contents are the objects of a group, as byte arrays.

use rtmfp::peer::ReplicationLimits;
use rtmfp::proto::range::MAX_INDEX;
use std::path::Path;

/// The most bytes that the encoding of a byte array adds to its content.
const ENCODING: usize = 16;

/// The longest file that is an object, in bytes.
pub(crate) fn max_content() -> u64 {
    (ReplicationLimits::default().max_object - ENCODING) as u64
}

/// The index of `12.bin`; there is one name for each.
pub(crate) fn index_of(path: &Path) -> Option<u64> {
    let stem = path.file_name()?.to_str()?.strip_suffix(".bin")?;
    let index: u64 = stem.parse().ok()?;
    (index <= MAX_INDEX && index.to_string() == stem).then_some(index)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_index_has_one_name() {
        let index = |name: &str| index_of(&Path::new("directory").join(name));
        assert_eq!(index("0.bin"), Some(0));
        assert_eq!(index("9007199254740992.bin"), Some(MAX_INDEX));
        for other in ["00.bin", "+1.bin", "-1.bin", ".bin", "1", "1.json", "1.bin.part"] {
            assert_eq!(index(other), None, "{other}");
        }
        assert_eq!(index("9007199254740993.bin"), None);
    }
}
