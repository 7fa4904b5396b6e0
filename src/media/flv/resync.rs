//! [`find_tag`]: the tags after a jump into the middle of a file.

use super::reader::KIND;
use super::{TAG_HEADER, TagKind};

/// The offset of the first tag in bytes from the middle of a file.
///
/// A tag counts if its length stands behind it, as most writers put it there, and another tag, or the
/// end of the file, follows. So it must be within the bytes as a whole: where none is found, look again
/// with more of them.
pub fn find_tag(bytes: &[u8]) -> Option<usize> {
    (0..bytes.len().saturating_sub(TAG_HEADER)).find(|&at| is_tag(&bytes[at..]))
}

fn is_tag(bytes: &[u8]) -> bool {
    let Some(len) = data_length(bytes) else { return false };
    let whole = TAG_HEADER + len;
    let Some(&trailer) = bytes.get(whole..).and_then(|rest| rest.first_chunk::<4>()) else {
        return false;
    };
    let next = &bytes[whole + 4..];
    let is_followed = next.len() < TAG_HEADER || data_length(next).is_some();
    u32::from_be_bytes(trailer) as usize == whole && is_followed
}

/// The length of the data of what looks like a tag.
fn data_length(bytes: &[u8]) -> Option<usize> {
    let &[kind, l0, l1, l2, _, _, _, _, 0, 0, 0] = bytes.first_chunk::<TAG_HEADER>()? else {
        return None;
    };
    TagKind::from_byte(kind & KIND)?;
    Some(u32::from_be_bytes([0, l0, l1, l2]) as usize)
}

#[cfg(test)]
mod tests {
    use super::super::Tag;
    use super::*;
    use bytes::Bytes;
    use proptest::prelude::*;

    fn tags(lengths: &[usize]) -> Vec<u8> {
        let mut out = Vec::new();
        for (n, len) in lengths.iter().enumerate() {
            let data = Bytes::from(vec![9; *len]);
            let tag = Tag { kind: TagKind::Video, timestamp: n as u32 * 40, data };
            tag.encode(&mut out).unwrap();
        }
        out
    }

    #[test]
    fn the_next_tag_is_found_from_anywhere() {
        let bytes = tags(&[100, 50, 70]);
        let second = 100 + TAG_HEADER + 4;
        assert_eq!(find_tag(&bytes), Some(0));
        for from in 1..=second {
            assert_eq!(find_tag(&bytes[from..]), Some(second - from), "{from}");
        }
    }

    #[test]
    fn a_tag_that_is_cut_off_is_not_yet_one() {
        let bytes = tags(&[100]);
        assert_eq!(find_tag(&bytes[..bytes.len() - 1]), None);
        assert_eq!(find_tag(&[]), None);
    }

    proptest! {
        #[test]
        fn hostile_bytes_are_searched_without_panic(bytes: Vec<u8>) {
            if let Some(at) = find_tag(&bytes) {
                prop_assert!(at < bytes.len());
            }
        }
    }
}
