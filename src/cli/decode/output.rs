//! The output of `decode`.

use super::files::Directory;
use super::{Form, print_note};
use crate::cli::format;
use crate::cli::output_file::{self, InUse};
use anyhow::{Context, bail};
use rtmfp::trace::extract::Extractor;
use rtmfp::trace::filter::Filter;
use rtmfp::trace::report::{self, Chosen};
use rtmfp::trace::tree::Tree;
use rtmfp::trace::wireshark::Decrypted;
use rtmfp::trace::{
    Analyzer, Capture, CaptureStats, Frames, PacketView, Status, Undecoded, json, line,
};
use std::io::{self, BufWriter, Stdout, Write};
use std::path::{Path, PathBuf};

/// Bytes of output that are written at a time.
const BUFFER: usize = 256 << 10;

/// Reasons for unread frames that are listed; further ones are left out.
const MAX_REASONS: usize = 6;

/// Sessions whose missing secret is noted; further ones are not.
const MAX_SESSION_NOTES: usize = 20;

const CANNOT_WRITE_DECRYPTED: &str = "cannot write the decrypted capture";

/// The output files.
#[derive(Debug, Clone, Default)]
pub(super) struct Files {
    /// The directory for streams, objects and posts.
    pub(super) extract: Option<PathBuf>,
    /// The decrypted capture.
    pub(super) decrypted: Option<PathBuf>,
}

pub(super) struct Output {
    form: Form,
    /// Outputs that are still to be opened.
    files: Files,
    in_use: InUse,
    /// True if there is a key log that a session's secret can be missing from.
    has_key_log: bool,
    filter: Option<Filter>,
    extractor: Option<Extractor<Directory>>,
    decrypted: Option<Decrypted<BufWriter<Box<dyn Write>>>>,
    prints_packets: bool,
    flushes_often: bool,
    out: BufWriter<Stdout>,
    text: String,
    bytes: Vec<u8>,
    stats: CaptureStats,
    chosen: Chosen,
    not_rtmfp: u64,
    /// RTMFP for which no key fits.
    without_key: u64,
    notes: Vec<String>,
}

impl Output {
    /// Opens nothing: that is left to [`begin`](Self::begin).
    ///
    /// # Errors
    ///
    /// If the files are some that are `in_use`, or standard output is to take two things at once.
    pub(super) fn new(
        form: Form,
        filter: Option<Filter>,
        files: Files,
        mut in_use: InUse,
        has_key_log: bool,
    ) -> anyhow::Result<Self> {
        in_use.check_standard_output()?;
        if let Some(path) = &files.decrypted {
            in_use.check_output("--decrypted", path)?;
            if output_file::is_standard_output(path) && form.has_reports() {
                bail!(
                    "--decrypted {} takes standard output, where reports are printed: write the \
                     capture to a file",
                    path.display()
                );
            }
            in_use.add(path, "the decrypted capture that is written");
        }
        let writes_files = files.extract.is_some() || files.decrypted.is_some();
        Ok(Self {
            form,
            has_key_log,
            prints_packets: form.is_of_packets(writes_files),
            files,
            in_use,
            decrypted: None,
            flushes_often: false,
            extractor: None,
            chosen: if filter.is_some() { Chosen::default() } else { Chosen::everything() },
            filter,
            out: BufWriter::with_capacity(BUFFER, io::stdout()),
            text: String::new(),
            bytes: Vec::new(),
            stats: CaptureStats::default(),
            not_rtmfp: 0,
            without_key: 0,
            notes: Vec::new(),
        })
    }

    /// Opens the files, once, now that there is a capture to decode.
    ///
    /// # Errors
    ///
    /// If they cannot be written.
    pub(super) fn begin(&mut self) -> anyhow::Result<()> {
        let files = std::mem::take(&mut self.files);
        if let Some(path) = &files.extract {
            let directory = Directory::create(path, std::mem::take(&mut self.in_use))?;
            self.extractor = Some(Extractor::new(directory));
        }
        if let Some(path) = &files.decrypted {
            self.decrypted = Some(decrypted_capture(path)?);
        }
        Ok(())
    }

    /// True if every packet is flushed at once.
    pub(super) fn flush_often(&mut self, flushes_often: bool) {
        self.flushes_often = flushes_often;
    }

    pub(super) fn packet(&mut self, packet: &PacketView<'_>) -> anyhow::Result<()> {
        self.not_rtmfp += u64::from(!packet.is_rtmfp);
        let has_no_key = matches!(packet.status, Status::Undecoded(Undecoded::NoKey(_)));
        self.without_key += u64::from(packet.is_rtmfp && has_no_key);
        if self.filter.as_ref().is_some_and(|filter| !filter.matches(packet)) {
            return Ok(());
        }
        self.chosen.add(packet);
        if let Some(extractor) = &mut self.extractor {
            extractor.packet(packet).context("cannot write what was carried")?;
        }
        if let Some(decrypted) = self.decrypted.as_mut().filter(|_| packet.is_rtmfp) {
            decrypted.packet(packet).context(CANNOT_WRITE_DECRYPTED)?;
            if self.flushes_often {
                decrypted.flush().context(CANNOT_WRITE_DECRYPTED)?;
            }
        }
        if self.form.stats {
            self.stats.count(packet);
        }
        if !self.prints_packets || (!packet.is_rtmfp && !self.form.all) {
            return Ok(());
        }
        self.print(packet)?;
        if self.flushes_often {
            self.out.flush()?;
        }
        Ok(())
    }

    fn print(&mut self, packet: &PacketView<'_>) -> anyhow::Result<()> {
        if self.form.json {
            self.bytes.clear();
            json::packet(packet, self.form.data, &mut self.bytes);
            self.out.write_all(&self.bytes)?;
            return Ok(());
        }
        self.text.clear();
        line::write(packet, &mut self.text)?;
        self.text.push('\n');
        self.out.write_all(self.text.as_bytes())?;
        if self.form.tree {
            Tree::of(packet).write(&mut self.out)?;
            writeln!(self.out)?;
        }
        Ok(())
    }

    /// Notes for the end.
    pub(super) fn note(&mut self, note: String) {
        self.notes.push(note);
    }

    /// Notes the skipped parts of a file.
    pub(super) fn count(&mut self, name: &str, capture: &Capture) {
        let (counts, frames) = (capture.counts(), capture.frames());
        self.stats.frames.merge(frames);
        if let Some(summary) = unread_frames(frames) {
            self.note(format!("{name}: {summary}"));
        }
        for (count, what) in [
            (
                counts.cut,
                "datagrams were cut when they were captured and cannot be decoded; tcpdump -s 0 takes \
                 them whole",
            ),
            (counts.incomplete, "fragmented IP packets stayed incomplete"),
        ] {
            if count > 0 {
                self.note(format!("{name}: {count} {what}"));
            }
        }
    }

    pub(super) fn finish(&mut self, analyzer: &Analyzer) -> anyhow::Result<()> {
        if let Some(extractor) = &mut self.extractor {
            extractor.finish().context("cannot write what was carried")?;
            let (files, skipped) = extractor.counts();
            self.notes.push(match skipped {
                0 => format!("{} written", format::count(files as u64, "file")),
                _ => format!("{files} files written, {skipped} more were too many"),
            });
        }
        self.reports(analyzer)?;
        self.out.flush()?;
        if let Some(decrypted) = &mut self.decrypted {
            decrypted.flush().context(CANNOT_WRITE_DECRYPTED)?;
        }
        self.session_notes(analyzer);
        if self.without_key > 0 {
            let count = format::count(self.without_key, "packet");
            self.notes.push(format!(
                "{count} cannot be decrypted: damaged, or the start of the session was not captured"
            ));
        }
        if self.not_rtmfp > 0 {
            let count = format::count(self.not_rtmfp, "UDP datagram");
            let verb = if self.not_rtmfp == 1 { "is" } else { "are" };
            let why = match analyzer.sessions().iter().next() {
                Some(_) => "",
                None => ": RTMFP is recognised by the start of a session, and none was captured",
            };
            self.notes.push(format!("{count} {verb} not RTMFP, as far as can be determined{why}"));
        }
        self.notes.iter().for_each(|note| print_note(note));
        Ok(())
    }

    fn reports(&mut self, analyzer: &Analyzer) -> anyhow::Result<()> {
        let Form { json, sessions, flows, groups, stats, .. } = self.form;
        let (out, chosen) = (&mut self.out, &self.chosen);
        if json {
            let mut bytes = Vec::new();
            if sessions {
                report::sessions_json(analyzer, chosen, &mut bytes);
            }
            if flows {
                report::flows_json(analyzer, chosen, &mut bytes);
            }
            if groups {
                report::groups_json(analyzer, chosen, &mut bytes);
            }
            if stats {
                report::stats_json(&self.stats, &mut bytes);
            }
            out.write_all(&bytes)?;
            return Ok(());
        }
        if sessions {
            report::sessions(analyzer, chosen, out)?;
        }
        if flows {
            report::flows(analyzer, chosen, out)?;
        }
        if groups {
            report::groups(analyzer, chosen, out)?;
        }
        if stats {
            report::stats(&self.stats, out)?;
        }
        Ok(())
    }

    /// Notes each session that cannot be decrypted, once.
    fn session_notes(&mut self, analyzer: &Analyzer) {
        let unreadable = analyzer.sessions().iter().filter(|(_, session)| !session.has_secret);
        let (mut left_out, mut is_first) = (0, true);
        for (number, session) in unreadable {
            let packets = session.initiator.unreadable + session.responder.unreadable;
            if self.notes.len() >= MAX_SESSION_NOTES {
                left_out += 1;
                continue;
            }
            let why = match self.has_key_log {
                true => "its secret is not in the key log",
                false => "no key log was given, see --keys",
            };
            let packets = format::count(packets, "packet");
            let mut note = format!("session #{number} cannot be decrypted ({packets}): {why}");
            if is_first {
                note += "; --sessions shows what can be seen from outside";
                is_first = false;
            }
            self.notes.push(note);
        }
        if left_out > 0 {
            self.notes.push(format!("so it is with {left_out} more sessions"));
        }
    }
}

/// The number of unread frames, and the reasons.
fn unread_frames(frames: &Frames) -> Option<String> {
    if frames.unread == 0 {
        return None;
    }
    let reasons = frames.reasons();
    let mut text = format!("{} of {} frames are not read:", frames.unread, frames.total);
    let mut listed = 0;
    for (i, (why, count)) in reasons.iter().take(MAX_REASONS).enumerate() {
        let separator = if i == 0 { "" } else { "," };
        text += &format!("{separator} {} of {why}", count.frames);
        listed += count.frames;
    }
    if listed < frames.unread {
        text += &format!(", {} others (--stats lists them)", frames.unread - listed);
    }
    Some(text)
}

fn decrypted_capture(path: &Path) -> anyhow::Result<Decrypted<BufWriter<Box<dyn Write>>>> {
    let out = BufWriter::with_capacity(BUFFER, output_file::create(path)?);
    Decrypted::new(out).context(CANNOT_WRITE_DECRYPTED)
}
