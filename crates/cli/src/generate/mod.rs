//! Generates raw data for the music job: a song catalogue and daily event logs, at any size.
//!
//! Data flow: [`MusicData`] -> [`catalogue`] (songs and artists) and [`activity`] (sessions of users) -> JSON files below
//! `song_data/` and `log_data/`, in the field order and with the escapes that such files have.
//!
//! Invariant: the bytes depend on the [`MusicData`] alone. Only integers are computed, with a generator of our own, so
//! that every platform and every release of a dependency gives the same files.

mod activity;
mod catalogue;
mod json;
mod random;
mod vocabulary;

use std::{
    fs::{self, File},
    io::{BufWriter, Write},
    path::Path,
};

use lakewright_error::{Error, ErrorKind, Result};

use self::{
    activity::{Activity, Day},
    catalogue::Catalogue,
};

/// What to generate.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct MusicData {
    /// Equal seeds and sizes give equal bytes.
    pub(crate) seed: u64,
    /// Lines of all event logs together. At least 1.
    pub(crate) events: u64,
    /// Song files. At least 1.
    pub(crate) songs: u64,
    /// Days from 2018-11-01 over which the events are spread, one log each; a day without events has no log.
    pub(crate) days: u32,
}

/// What was written.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Written {
    /// Files.
    pub(crate) objects: u64,
    /// Their sizes together.
    pub(crate) size_bytes: u64,
}

/// The numbers of events, songs and days that names and dates have room for.
const EVENTS_MAX: u64 = 100_000_000_000;
const SONGS_MAX: u64 = 10_000_000;
const DAYS_MAX: u32 = 36_500;

impl MusicData {
    /// Writes the files below `raw`, replacing those of the same names and touching no others.
    ///
    /// Memory does not grow with the size: songs are derived one by one, and only the sessions under way are held.
    ///
    /// # Errors
    /// - [`ErrorKind::Invalid`]: a size is zero or beyond its limit.
    /// - [`ErrorKind::Unavailable`]: a folder or file cannot be written.
    /// - [`ErrorKind::Exhausted`]: the disk is full.
    pub(crate) fn write_to(&self, raw: &Path) -> Result<Written> {
        check_size("events", self.events, EVENTS_MAX)?;
        check_size("songs", self.songs, SONGS_MAX)?;
        check_size("days", u64::from(self.days), u64::from(DAYS_MAX))?;
        let catalogue = Catalogue::new(self.seed, self.songs);
        let mut written = self.write_songs(&catalogue, &raw.join("song_data"))?;
        let logs = self.write_logs(&catalogue, &raw.join("log_data"))?;
        written.objects += logs.objects;
        written.size_bytes += logs.size_bytes;
        Ok(written)
    }

    fn write_songs(&self, catalogue: &Catalogue, folder: &Path) -> Result<Written> {
        let mut written = Written::default();
        let mut folder_made = String::new();
        let mut text = Vec::new();
        for index in 0..self.songs {
            let (subfolder, name) = catalogue.location(index);
            let subfolder_path = folder.join(&subfolder);
            if subfolder != folder_made {
                fs::create_dir_all(&subfolder_path).map_err(|error| cannot_write(&subfolder_path, error))?;
                folder_made = subfolder;
            }
            text.clear();
            json::write_song(&mut text, &catalogue.song(index));
            let path = subfolder_path.join(name);
            fs::write(&path, &text).map_err(|error| cannot_write(&path, error))?;
            written.objects += 1;
            written.size_bytes += text.len() as u64;
        }
        Ok(written)
    }

    fn write_logs(&self, catalogue: &Catalogue, folder: &Path) -> Result<Written> {
        let mut written = Written::default();
        let mut activity = Activity::new(self.seed, self.events, catalogue);
        for day in Day::spread(self.seed, self.events, self.days).filter(|day| day.events > 0) {
            let subfolder = folder.join(day.date.format("%Y/%m").to_string());
            fs::create_dir_all(&subfolder).map_err(|error| cannot_write(&subfolder, error))?;
            let path = subfolder.join(day.date.format("%Y-%m-%d-events.json").to_string());
            written.size_bytes += write_log(&path, &mut activity, day).map_err(|error| cannot_write(&path, error))?;
            written.objects += 1;
        }
        Ok(written)
    }
}

/// Writes one day's log to its size in bytes. The last line has no newline, as in the logs that it stands for.
fn write_log(path: &Path, activity: &mut Activity<'_>, day: Day) -> std::io::Result<u64> {
    let mut file = BufWriter::with_capacity(1 << 20, File::create(path)?);
    let mut line = Vec::new();
    let mut size_bytes = 0;
    for index in 0..day.events {
        line.clear();
        if index > 0 {
            line.push(b'\n');
        }
        json::write_event(&mut line, &activity.next_event(day, index));
        file.write_all(&line)?;
        size_bytes += line.len() as u64;
    }
    file.flush()?;
    Ok(size_bytes)
}

fn check_size(name: &str, value: u64, max: u64) -> Result<()> {
    if (1..=max).contains(&value) {
        return Ok(());
    }
    Err(Error::new(ErrorKind::Invalid, format!("cannot generate {value} {name}"))
        .with_hint(format!("give a number from 1 to {max}")))
}

fn cannot_write(path: &Path, error: std::io::Error) -> Error {
    let kind = match error.kind() {
        std::io::ErrorKind::StorageFull | std::io::ErrorKind::QuotaExceeded => ErrorKind::Exhausted,
        _ => ErrorKind::Unavailable,
    };
    Error::new(kind, "cannot write the generated data").with("file", path.display()).with_source(error)
}

#[cfg(test)]
mod tests;
