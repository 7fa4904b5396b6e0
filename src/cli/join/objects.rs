//! The objects of a member: files that it offers, objects that it wants and what came of them.

use crate::cli::format;
use crate::cli::object_file::{index_of, max_content};
use anyhow::{Context, bail, ensure};
use bytes::Bytes;
use rtmfp::amf::{self, Value};
use rtmfp::driver::{Access, OutputPath, write_whole};
use rtmfp::peer::ReplicationLimits;
use rtmfp::proto::range::IndexSet;
use rtmfp::trace::json::{Json, write_amf};
use rtmfp::vod::store::check_directory;
use std::collections::BTreeMap;
use std::fs;
use std::io::Write;
use std::ops::RangeInclusive;
use std::path::{Path, PathBuf};

/// Bytes of fetched objects, in their encoding, that are kept in memory to be passed on. What comes
/// beyond is reported and saved, but not offered to others.
const MAX_IN_MEMORY: usize = 64 << 20;
/// The memory that an object takes in addition to its encoding.
const ENTRY: usize = 64;

/// The Have and Want sets of this member.
#[derive(Debug)]
pub(super) struct Objects {
    held: BTreeMap<u64, Source>,
    wanted: u64,
    missing: IndexSet,
    save: Option<PathBuf>,
    /// Bytes left of [`MAX_IN_MEMORY`].
    space: usize,
}

#[derive(Debug)]
enum Source {
    /// The content of a byte array.
    File(PathBuf),
    /// A value in AMF.
    Memory(Bytes),
}

/// The result of handling a fetched object.
#[derive(Debug)]
pub(super) struct Kept {
    /// Its type in ActionScript.
    pub(super) kind: &'static str,
    /// The length of a byte array, otherwise that of the encoding.
    pub(super) bytes: usize,
    /// The file that it was saved in.
    pub(super) file: Option<PathBuf>,
    /// It can be passed on.
    pub(super) is_had: bool,
    /// It was wanted until now.
    pub(super) was_missing: bool,
}

impl Objects {
    /// The objects that are in `have`, and those that are in `want` besides, to be saved in `save`.
    pub(super) fn open(
        want: Option<IndexSet>,
        have: Option<&Path>,
        save: Option<PathBuf>,
    ) -> anyhow::Result<Self> {
        if let Some(directory) = &save {
            try_to_write(directory)
                .with_context(|| format!("cannot write to --save {}", directory.display()))?;
        }
        let held = match have {
            Some(directory) => scan(directory)
                .with_context(|| format!("cannot offer --have {}", directory.display()))?,
            None => BTreeMap::new(),
        };
        let mut missing = want.unwrap_or_default().bounded_to(usize::MAX)?;
        let wanted = missing.len();
        for &index in held.keys() {
            missing.remove(index)?;
        }
        Ok(Self { held, wanted, missing, save, space: MAX_IN_MEMORY })
    }

    /// The objects that can be offered.
    pub(super) fn had(&self) -> IndexSet {
        let mut had = IndexSet::unbounded();
        for &index in self.held.keys() {
            // Each index was checked when it came; without a bound none is refused.
            let _ = had.insert(index);
        }
        had
    }

    /// Offers a value as an object, in place of an earlier one.
    pub(super) fn offer(&mut self, index: u64, value: &Value) -> anyhow::Result<()> {
        let (encoded, limit) = (amf::to_bytes(value)?, ReplicationLimits::default().max_object);
        ensure!(encoded.len() <= limit, "an object has at most {limit} bytes");
        self.forget(index);
        let source = self.in_memory(encoded);
        let source = source.with_context(|| {
            format!("the objects in memory take {} already", format::bytes(MAX_IN_MEMORY as u64))
        })?;
        self.held.insert(index, source);
        self.missing.remove(index)?;
        Ok(())
    }

    /// Wants these objects, those that are here too.
    pub(super) fn want(&mut self, wanted: &IndexSet) -> anyhow::Result<()> {
        let before = self.missing.len();
        self.missing.extend(wanted)?;
        self.wanted = self.wanted.saturating_add(self.missing.len() - before);
        self.withdraw(wanted);
        Ok(())
    }

    /// Wants these objects no longer.
    pub(super) fn unwant(&mut self, unwanted: &IndexSet) -> anyhow::Result<()> {
        let before = self.missing.len();
        self.missing.subtract(unwanted)?;
        self.wanted = self.wanted.saturating_sub(before - self.missing.len());
        Ok(())
    }

    /// Offers these objects no longer.
    pub(super) fn withdraw(&mut self, withdrawn: &IndexSet) {
        let held: Vec<u64> =
            self.held.keys().copied().filter(|index| withdrawn.contains(*index)).collect();
        held.into_iter().for_each(|index| self.forget(index));
    }

    /// How many objects were wanted so far.
    pub(super) fn wanted(&self) -> u64 {
        self.wanted
    }

    /// The wanted objects that have not been fetched.
    pub(super) fn missing(&self) -> &IndexSet {
        &self.missing
    }

    /// Objects were wanted, and all are here.
    pub(super) fn is_complete(&self) -> bool {
        self.wanted > 0 && self.missing.is_empty()
    }

    /// An object that was offered.
    pub(super) async fn object(&self, index: u64) -> anyhow::Result<Value> {
        match self.held.get(&index).context("it is not there")? {
            Source::File(path) => {
                let content = tokio::fs::read(path).await;
                let content = content.with_context(|| format!("cannot read {}", path.display()))?;
                Ok(Value::ByteArray(content.into()))
            }
            Source::Memory(encoded) => Ok(amf::from_bytes(encoded.clone())?),
        }
    }

    /// An object can no longer be offered.
    pub(super) fn forget(&mut self, index: u64) {
        if let Some(Source::Memory(encoded)) = self.held.remove(&index) {
            self.space += encoded.len() + ENTRY;
        }
    }

    /// Takes a fetched object.
    pub(super) async fn keep(&mut self, index: u64, value: Value) -> anyhow::Result<Kept> {
        let file = match &self.save {
            Some(directory) => Some(save(directory, index, &value).await?),
            None => None,
        };
        self.forget(index);
        // What came in AMF0 or AMF3 may still have no encoding in the player's form of objects.
        let encoded = amf::to_bytes(&value).ok();
        let bytes = value.as_bytes().or(encoded.as_ref()).map_or(0, Bytes::len);
        let source = match (&value, &file) {
            (Value::ByteArray(_), Some(path)) => Some(Source::File(path.clone())),
            _ => encoded.and_then(|encoded| self.in_memory(encoded)),
        };
        let was_missing = self.missing.remove(index)?;
        let is_had = source.is_some();
        self.held.extend(source.map(|source| (index, source)));
        Ok(Kept { kind: kind(&value), bytes, file, is_had, was_missing })
    }

    fn in_memory(&mut self, encoded: Bytes) -> Option<Source> {
        self.space = self.space.checked_sub(encoded.len() + ENTRY)?;
        Some(Source::Memory(encoded))
    }
}

/// Reads `0-99,200`.
pub(super) fn parse_ranges(text: &str) -> Result<IndexSet, String> {
    let ranges: Result<Vec<_>, _> = text.split(',').map(parse_range).collect();
    IndexSet::from_ranges(ranges?).map_err(|error| error.to_string())
}

fn parse_range(text: &str) -> Result<RangeInclusive<u64>, String> {
    let number = |text: &str| {
        let digits = text.trim();
        let is_number = !digits.is_empty() && digits.bytes().all(|byte| byte.is_ascii_digit());
        let number = is_number.then(|| digits.parse().ok()).flatten();
        number.ok_or_else(|| format!("{text:?} is no object index: write ranges like 0-99,200"))
    };
    let (first, last) = text.split_once('-').unwrap_or((text, text));
    let range = number(first)?..=number(last)?;
    if range.is_empty() {
        return Err(format!("the range {text} ends before it begins: write {last}-{first}"));
    }
    Ok(range)
}

/// Makes the directory, if need be, and finds out whether files can be made in it.
fn try_to_write(directory: &Path) -> anyhow::Result<()> {
    fs::create_dir_all(directory)?;
    Ok(check_directory(directory)?)
}

/// The objects in a directory: files `N.bin`. Others are passed over.
fn scan(directory: &Path) -> anyhow::Result<BTreeMap<u64, Source>> {
    let limit = max_content();
    let mut held = BTreeMap::new();
    for entry in fs::read_dir(directory)? {
        let path = entry?.path();
        let Some(index) = index_of(&path) else { continue };
        let metadata = path.metadata().with_context(|| path.display().to_string())?;
        if !metadata.is_file() {
            continue;
        }
        ensure!(
            metadata.len() <= limit,
            "{} is too large: an object has at most {limit} bytes; cut it up (`rtmfp share` does \
             that with files)",
            path.display()
        );
        held.insert(index, Source::File(path));
    }
    Ok(held)
}

/// Writes an object into its file, which is complete whenever it is there.
async fn save(directory: &Path, index: u64, value: &Value) -> anyhow::Result<PathBuf> {
    let (extension, content) = match value.as_bytes() {
        Some(content) => ("bin", content.clone()),
        None => {
            let mut text = Vec::new();
            write_amf(&mut Json::new(&mut text), value);
            text.push(b'\n');
            ("json", text.into())
        }
    };
    let path = directory.join(format!("{index}.{extension}"));
    let shown = path.display().to_string();
    let saved = tokio::task::spawn_blocking(move || write_object(&path, &content).map(|()| path));
    saved.await?.with_context(|| format!("cannot write {shown}"))
}

/// A file of the name that holds something else stays as it is; what is no file is written to.
fn write_object(path: &Path, content: &[u8]) -> anyhow::Result<()> {
    match OutputPath::locate(path)? {
        OutputPath::Missing(path) => write_whole(&path, content, Access::Usual, false)?,
        OutputPath::File(path) => ensure!(
            fs::read(path)? == content,
            "it exists and has another content: choose another directory for --save"
        ),
        OutputPath::Directory(_) => bail!("it is a directory"),
        OutputPath::InOrder(place) => {
            place.open()?.context("it is a pipe that no program reads")?.write_all(content)?;
        }
    }
    Ok(())
}

/// The type of a value in ActionScript.
fn kind(value: &Value) -> &'static str {
    match value {
        Value::Undefined => "undefined",
        Value::Null => "null",
        Value::Boolean(_) => "Boolean",
        Value::Number(_) => "Number",
        Value::Integer(_) => "int",
        Value::String(_) => "String",
        Value::Array(_) | Value::EcmaArray(_) => "Array",
        Value::Date(_) => "Date",
        Value::Xml(_) => "XML",
        Value::XmlDocument(_) => "XMLDocument",
        Value::ByteArray(_) => "ByteArray",
        Value::VectorInt(_) => "Vector.<int>",
        Value::VectorUint(_) => "Vector.<uint>",
        Value::VectorDouble(_) => "Vector.<Number>",
        Value::VectorObject(_) => "Vector.<Object>",
        Value::Dictionary(_) => "Dictionary",
        _ => "Object",
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use rtmfp::proto::range::MAX_INDEX;

    fn ranges(text: &str) -> Vec<RangeInclusive<u64>> {
        parse_ranges(text).unwrap().ranges().collect()
    }

    #[test]
    fn ranges_are_read() {
        assert_eq!(ranges("7"), [7..=7]);
        assert_eq!(ranges("0-99,200"), [0..=99, 200..=200]);
        assert_eq!(ranges("5-9, 0-4"), [0..=9]);
        assert_eq!(ranges("0-9007199254740992"), [0..=MAX_INDEX]);
        let wrong = ["", ",", "1,", "-", "1-", "-1", "a", "+1", "1-2-3", "9-1", "9007199254740993"];
        for text in wrong {
            assert!(parse_ranges(text).is_err(), "{text}");
        }
        assert!(parse_ranges("9-1").unwrap_err().contains("write 1-9"));
    }

    #[tokio::test]
    async fn values_are_kept_in_files_and_come_back() {
        let directory = tempfile::tempdir().unwrap();
        let want = parse_ranges("0-2").unwrap();
        let save = directory.path().join("new");
        let mut objects = Objects::open(Some(want), None, Some(save.clone())).unwrap();
        let bytes = Value::ByteArray(vec![1, 2, 3].into());
        let kept = objects.keep(0, bytes.clone()).await.unwrap();
        assert_eq!((kept.kind, kept.bytes, kept.is_had), ("ByteArray", 3, true));
        assert_eq!(fs::read(save.join("0.bin")).unwrap(), [1, 2, 3]);
        let named = Value::object([("name", "grüße\u{1b}")]);
        assert_eq!(objects.keep(2, named.clone()).await.unwrap().kind, "Object");
        let text = fs::read_to_string(save.join("2.json")).unwrap();
        assert_eq!(text, "{\"name\":\"grüße\\u001b\"}\n");
        assert_eq!(objects.object(0).await.unwrap(), bytes);
        assert_eq!(objects.object(2).await.unwrap(), named);
        assert!(objects.object(1).await.is_err());
        assert!(!objects.is_complete());
        assert_eq!(fs::read_dir(&save).unwrap().count(), 2, "no parts are left");

        // Another run has the byte array, the value it fetches again.
        let want = parse_ranges("0-2").unwrap();
        let objects = Objects::open(Some(want), Some(&save), Some(save.clone())).unwrap();
        assert_eq!(objects.missing().ranges().collect::<Vec<_>>(), [1..=2]);
        assert_eq!((objects.wanted(), objects.had().len()), (3, 1));
    }

    #[tokio::test]
    async fn saving_replaces_nothing() {
        let directory = tempfile::tempdir().unwrap();
        let at = |name: &str| directory.path().join(name);
        fs::write(at("1.bin"), "precious").unwrap();
        fs::write(at("2.bin"), "same").unwrap();
        let save = Some(directory.path().to_owned());
        let mut objects = Objects::open(Some(parse_ranges("0-3").unwrap()), None, save).unwrap();
        let bytes = |text: &'static str| Value::ByteArray(Bytes::from_static(text.as_bytes()));
        let error = objects.keep(1, bytes("other")).await.unwrap_err();
        assert!(format!("{error:#}").contains("another content"), "{error:#}");
        assert_eq!(fs::read(at("1.bin")).unwrap(), b"precious");
        objects.keep(2, bytes("same")).await.unwrap();
        #[cfg(unix)]
        {
            std::os::unix::fs::symlink("/dev/null", at("0.bin")).unwrap();
            std::os::unix::fs::symlink("elsewhere", at("3.bin")).unwrap();
            objects.keep(0, bytes("gone")).await.unwrap();
            objects.keep(3, bytes("there")).await.unwrap();
            assert_eq!(fs::read(at("elsewhere")).unwrap(), b"there");
            for link in ["0.bin", "3.bin"] {
                assert!(fs::symlink_metadata(at(link)).unwrap().is_symlink());
            }
        }
        // An object without bytes is an object.
        let mut objects = Objects::open(None, None, Some(at("more"))).unwrap();
        let kept = objects.keep(9, bytes("")).await.unwrap();
        assert_eq!((kept.bytes, kept.is_had), (0, true));
        assert_eq!(fs::read(at("more/9.bin")).unwrap(), b"");
        let objects = Objects::open(None, Some(&at("more")), None).unwrap();
        assert_eq!(objects.object(9).await.unwrap(), bytes(""));
    }

    #[tokio::test]
    async fn what_finds_no_space_is_not_offered() {
        let mut objects = Objects::open(Some(parse_ranges("0-1").unwrap()), None, None).unwrap();
        objects.space = 100;
        assert!(objects.keep(0, Value::from("x".repeat(20))).await.unwrap().is_had);
        assert!(!objects.keep(1, Value::from("x".repeat(20))).await.unwrap().is_had);
        assert!(objects.is_complete());
        assert_eq!(objects.had().ranges().collect::<Vec<_>>(), [0..=0]);
    }

    #[tokio::test]
    async fn sets_change_while_the_member_runs() {
        let mut objects = Objects::open(None, None, None).unwrap();
        objects.offer(3, &Value::from("three")).unwrap();
        objects.offer(3, &Value::from("III")).unwrap();
        assert_eq!(objects.object(3).await.unwrap(), Value::from("III"));
        assert_eq!(objects.space, MAX_IN_MEMORY - "III".len() - 3 - ENTRY);
        objects.want(&parse_ranges("2-4").unwrap()).unwrap();
        assert_eq!((objects.wanted(), objects.had().len()), (3, 0), "wanted anew");
        assert_eq!(objects.space, MAX_IN_MEMORY);
        objects.unwant(&parse_ranges("4-9").unwrap()).unwrap();
        assert!(objects.keep(2, Value::Null).await.unwrap().was_missing);
        assert!(!objects.keep(4, Value::Null).await.unwrap().was_missing);
        objects.offer(3, &Value::Null).unwrap();
        assert!(objects.is_complete());
        objects.withdraw(&parse_ranges("0-3").unwrap());
        assert_eq!(objects.had().ranges().collect::<Vec<_>>(), [4..=4]);
        let large = Value::ByteArray(vec![0; 5 << 20].into());
        assert!(objects.offer(0, &large).is_err());
    }

    #[test]
    fn a_file_that_nobody_would_take_is_refused() {
        let directory = tempfile::tempdir().unwrap();
        let file = fs::File::create(directory.path().join("5.bin")).unwrap();
        file.set_len((4 << 20) + 1).unwrap();
        let error = Objects::open(None, Some(directory.path()), None).unwrap_err();
        assert!(format!("{error:#}").contains("5.bin is too large"), "{error:#}");
    }
}
