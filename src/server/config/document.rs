//! A text in TOML, as settings with their values and lines.

use super::settings::SettingsError;
use super::table::{SECTIONS, SETTINGS, Setting};
use crate::wire::Shown;
use std::ops::Range;
use toml::de::{DeTable, DeValue, Error};
use toml::{Spanned, Table, Value};

/// The settings of a text, in the order of their names.
pub(super) struct Document {
    pub(super) entries: Vec<Entry>,
}

/// A setting in a text.
pub(super) struct Entry {
    /// From 1.
    pub(super) line: usize,
    pub(super) setting: &'static Setting,
    pub(super) value: Value,
}

impl Document {
    pub(super) fn parse(text: &str) -> Result<Self, SettingsError> {
        let syntax = |error: Error| SettingsError::Syntax {
            line: line(text, error.span().unwrap_or_default()),
            problem: error.message().to_owned(),
        };
        let spans = DeTable::parse(text).map_err(syntax)?;
        let values: Table = text.parse().map_err(syntax)?;
        let mut document = Self { entries: Vec::new() };
        document.read_section(text, "", spans.get_ref(), &values)?;
        document.entries.sort_by_key(|entry| entry.line);
        Ok(document)
    }

    fn read_section(
        &mut self,
        text: &str,
        section: &str,
        spans: &DeTable<'_>,
        values: &Table,
    ) -> Result<(), SettingsError> {
        for (key, span) in spans {
            let line = line(text, key.span());
            let value = &values[key.get_ref().as_ref()];
            let name = match section {
                "" => key.get_ref().to_string(),
                section => format!("{section}.{}", key.get_ref()),
            };
            let is_section = SECTIONS.iter().any(|(section, _)| *section == name);
            if let (true, "", DeValue::Table(spans), Value::Table(values)) =
                (is_section, section, span.get_ref(), value)
            {
                self.read_section(text, &name, spans, values)?;
                continue;
            }
            let Some(setting) = SETTINGS.iter().find(|setting| setting.name == name) else {
                let written = span_name(&name, span);
                let nearest = nearest(&written);
                let name = Shown::new(&written).to_string();
                return Err(SettingsError::Unknown { line, name, nearest });
            };
            self.entries.push(Entry { line, setting, value: value.clone() });
        }
        Ok(())
    }
}

/// The name of what is unknown: of an unknown section its first key, which tells more.
fn span_name(name: &str, span: &Spanned<DeValue<'_>>) -> String {
    let first = span.get_ref().as_table().and_then(|table| table.keys().next());
    first.map_or_else(|| name.to_owned(), |key| format!("{name}.{}", key.get_ref()))
}

/// The setting whose name is most like this one: in its section, in another one, or altogether.
pub(super) fn nearest(name: &str) -> &'static str {
    let key = name.rsplit('.').next().unwrap_or(name);
    let likeness = |setting: &&Setting| {
        let whole = strsim::jaro_winkler(setting.name, name);
        let of_key = strsim::jaro_winkler(setting.place().1, key);
        // Exact for the numbers from 0 to 2 that these are.
        ((whole + of_key) * 1e6) as u64
    };
    // The table is not empty.
    SETTINGS.iter().max_by_key(likeness).map_or("", |setting| setting.name)
}

/// The line in which a part of the text begins, from 1.
fn line(text: &str, span: Range<usize>) -> usize {
    1 + text.bytes().take(span.start).filter(|&byte| byte == b'\n').count()
}
