//! Undoes the compression of raw objects: stored bytes in, text out, both in pieces of bounded size.
//!
//! Invariant: a text is complete only if every member of its object was, checksums included. Whatever else stands in the
//! object is an error about the object as a whole, never fewer rows.

use std::{
    io::{self, Write},
    mem::take,
};

use flate2::write::MultiGzDecoder;
use lakewright_error::{Error, ErrorKind, Result};
use zstd::{
    stream::raw::{Decoder as ZstdDecoder, InBuffer, Operation, OutBuffer},
    zstd_safe::DParameter,
};

/// Stored bytes that a gzip member gets at once. Deflate makes at most 1032 bytes of one, so this bounds a piece of text.
const GZIP_STEP_BYTES: usize = 4 << 10;
/// Room for text that a zstd frame gets at once: the size of a full block.
const ZSTD_STEP_BYTES: usize = 128 << 10;
/// Text that is given at once, as soon as there is so much of it.
const TEXT_PIECE_BYTES: usize = 256 << 10;
/// Text of any object up to this size is read, whatever its ratio is.
const TEXT_BYTES_FREE: u64 = 1 << 30;
/// Beyond that, an object with more bytes of text for each stored byte is taken for a bomb. Logs have 5 to 50.
const TEXT_RATIO_MAX: u64 = 250;
/// The most memory that a zstd object may ask for, as a power of two: what the `zstd` program takes without being told.
const ZSTD_WINDOW_LOG_MAX: u32 = 27;

/// How the raw objects of a source are compressed.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Compression {
    /// As the suffix of each object's key says.
    #[default]
    Auto,
    /// Not at all, whatever their keys say.
    None,
    /// As gzip, all of them.
    Gzip,
    /// As Zstandard, all of them.
    Zstd,
}

/// What undoes the compression of one object.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Codec {
    Gzip,
    Zstd,
}

impl Compression {
    /// The codec of the object, if it is compressed.
    pub(super) fn codec(self, key: &str) -> Option<Codec> {
        match self {
            Self::Auto => match suffix(key).as_deref() {
                Some("gz" | "gzip") => Some(Codec::Gzip),
                Some("zst" | "zstd") => Some(Codec::Zstd),
                _ => None,
            },
            Self::None => None,
            Self::Gzip => Some(Codec::Gzip),
            Self::Zstd => Some(Codec::Zstd),
        }
    }

    /// Whether the object is read from its beginning to its end by one task: its text has no byte ranges.
    pub(crate) fn is_packed(self, key: &str) -> bool {
        self.codec(key).is_some()
    }

    /// Whether the key's suffix names a compression that is not undone.
    pub(crate) fn is_unreadable(self, key: &str) -> bool {
        self == Self::Auto
            && matches!(suffix(key).as_deref(), Some("bz2" | "xz" | "lz4" | "snappy" | "zip" | "br" | "7z"))
    }
}

fn suffix(key: &str) -> Option<String> {
    key.rsplit_once('.').map(|(_, suffix)| suffix.to_ascii_lowercase())
}

/// Unpacks one object.
pub(super) struct Unpacker {
    member: Member,
    text_bytes: u64,
    text_bytes_max: u64,
}

enum Member {
    Gzip(Box<MultiGzDecoder<Vec<u8>>>),
    Zstd {
        decoder: Box<ZstdDecoder<'static>>,
        text: Vec<u8>,
        /// Whether a frame has begun and not ended, or none has begun at all.
        open: bool,
    },
}

impl Unpacker {
    /// For an object of `stored_bytes`.
    pub(super) fn new(codec: Codec, stored_bytes: u64) -> Result<Self> {
        let member = match codec {
            Codec::Gzip => Member::Gzip(Box::new(MultiGzDecoder::new(Vec::new()))),
            Codec::Zstd => {
                let mut decoder = ZstdDecoder::new().map_err(|error| broken(codec, error))?;
                let window = DParameter::WindowLogMax(ZSTD_WINDOW_LOG_MAX);
                decoder.set_parameter(window).map_err(|error| broken(codec, error))?;
                Member::Zstd { decoder: Box::new(decoder), text: Vec::new(), open: true }
            }
        };
        let text_bytes_max = TEXT_BYTES_FREE.max(stored_bytes.saturating_mul(TEXT_RATIO_MAX));
        Ok(Self { member, text_bytes: 0, text_bytes_max })
    }

    /// Unpacks from the front of `stored`, until there is a piece of text or no byte left. Gives the number of bytes that
    /// it has taken and the text, which may be empty.
    ///
    /// # Errors
    /// - [`ErrorKind::Corrupt`]: the bytes are not what the codec writes, or unpack to more than is read.
    pub(super) fn unpack(&mut self, stored: &[u8]) -> Result<(usize, Vec<u8>)> {
        let mut taken = 0;
        while taken < stored.len() && self.member.text().len() < TEXT_PIECE_BYTES {
            taken += self.member.unpack(&stored[taken..]).map_err(|error| broken(self.member.codec(), error))?;
        }
        let text = take(self.member.text());
        self.count(text.len())?;
        Ok((taken, text))
    }

    /// The rest of the text, when all stored bytes were given.
    ///
    /// # Errors
    /// - [`ErrorKind::Corrupt`]: the last member is cut, or its checksum is another.
    pub(super) fn finish(&mut self) -> Result<Vec<u8>> {
        self.member.finish().map_err(|error| broken(self.member.codec(), error))?;
        let text = take(self.member.text());
        self.count(text.len())?;
        Ok(text)
    }

    fn count(&mut self, text_bytes: usize) -> Result<()> {
        self.text_bytes += text_bytes as u64;
        if self.text_bytes > self.text_bytes_max {
            let message = format!("a compressed object has more than {} bytes of text", self.text_bytes_max);
            return Err(Error::new(ErrorKind::Corrupt, message)
                .with(UNREADABLE, "its size")
                .with_hint("if it is what it should be, unpack it, or write it as several objects"));
        }
        Ok(())
    }
}

impl Member {
    fn codec(&self) -> Codec {
        match self {
            Self::Gzip(_) => Codec::Gzip,
            Self::Zstd { .. } => Codec::Zstd,
        }
    }

    fn text(&mut self) -> &mut Vec<u8> {
        match self {
            Self::Gzip(decoder) => decoder.get_mut(),
            Self::Zstd { text, .. } => text,
        }
    }

    /// One step: how many of the bytes were taken.
    fn unpack(&mut self, stored: &[u8]) -> io::Result<usize> {
        match self {
            Self::Gzip(decoder) => {
                let step = &stored[..stored.len().min(GZIP_STEP_BYTES)];
                decoder.write_all(step).map(|()| step.len())
            }
            Self::Zstd { decoder, text, open } => {
                let mut input = InBuffer::around(stored);
                *open = unpack_frame(decoder, &mut input, text)?;
                Ok(input.pos())
            }
        }
    }

    /// Checks the end; gives what text was held back.
    fn finish(&mut self) -> io::Result<()> {
        match self {
            Self::Gzip(decoder) => decoder.try_finish(),
            Self::Zstd { decoder, text, open } => {
                while *open {
                    let before = text.len();
                    *open = unpack_frame(decoder, &mut InBuffer::around(&[]), text)?;
                    if *open && text.len() == before {
                        return Err(io::Error::new(io::ErrorKind::UnexpectedEof, "the object ends in a frame"));
                    }
                }
                Ok(())
            }
        }
    }
}

/// One step of a zstd frame; false when it has ended and all its text was given.
fn unpack_frame(decoder: &mut ZstdDecoder<'_>, input: &mut InBuffer<'_>, text: &mut Vec<u8>) -> io::Result<bool> {
    let start = text.len();
    text.resize(start + ZSTD_STEP_BYTES, 0);
    let mut output = OutBuffer::around_pos(text.as_mut_slice(), start);
    let expected = decoder.run(input, &mut output);
    let end = output.pos();
    text.truncate(end);
    Ok(expected? > 0)
}

fn broken(codec: Codec, error: io::Error) -> Error {
    let name = match codec {
        Codec::Gzip => "gzip",
        Codec::Zstd => "zstd",
    };
    Error::new(ErrorKind::Corrupt, format!("a raw object is not complete {name}: it is cut, damaged, or something else"))
        .with(UNREADABLE, name)
        .with_hint(
            "mend the object, or leave it out with a glob in the source's location; if its suffix is wrong, set the source's option compression",
        )
        .with_source(error)
}

/// The context of an error that is about a raw object as a whole. Of an error that several tasks hold, only a copy comes
/// out of a plan: its context is the same, its source is not.
pub(crate) const UNREADABLE: &str = "unreadable";

/// The key of the raw object whose bytes are no text, if that is why a scan has failed, relative to the raw prefix.
///
/// The other objects of the scan may be read without it.
#[must_use]
pub fn broken_object(error: &Error) -> Option<&str> {
    let value = |key| error.context().iter().find(|(name, _)| *name == key).map(|(_, value)| value.as_str());
    value(UNREADABLE)?;
    value("object")
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Bytes of text until the end or the error.
    fn unpack_all(mut unpacker: Unpacker, mut stored: &[u8]) -> (u64, Result<()>) {
        let mut text_bytes = 0;
        while !stored.is_empty() {
            match unpacker.unpack(stored) {
                Ok((taken, text)) => {
                    assert!(text.len() <= TEXT_PIECE_BYTES + GZIP_STEP_BYTES * 1032, "a piece of {} bytes", text.len());
                    stored = &stored[taken..];
                    text_bytes += text.len() as u64;
                }
                Err(error) => return (text_bytes, Err(error)),
            }
        }
        let rest = unpacker.finish();
        (text_bytes + rest.as_ref().map_or(0, |text| text.len() as u64), rest.map(drop))
    }

    #[test]
    fn a_bomb_is_refused_before_it_has_gone_off() {
        let text = vec![b'\n'; 12 << 20];
        let mut encoder = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::default());
        encoder.write_all(&text).unwrap();
        let gzip = encoder.finish().unwrap();
        let zstd = zstd::bulk::compress(&text, 3).unwrap();
        for (codec, stored) in [(Codec::Gzip, gzip), (Codec::Zstd, zstd)] {
            assert!(stored.len() < 64 << 10);
            let all = unpack_all(Unpacker::new(codec, stored.len() as u64).unwrap(), &stored);
            assert!(matches!(all, (12_582_912, Ok(()))), "{codec:?}: small enough to be read");

            let bounded = Unpacker { text_bytes_max: 4 << 20, ..Unpacker::new(codec, stored.len() as u64).unwrap() };
            let (text_bytes, end) = unpack_all(bounded, &stored);
            assert_eq!(end.unwrap_err().kind(), ErrorKind::Corrupt, "{codec:?}");
            assert!(text_bytes <= 4 << 20, "{codec:?}: {text_bytes}");
        }
    }

    #[test]
    fn more_stored_bytes_may_have_more_text() {
        assert_eq!(Unpacker::new(Codec::Gzip, 100).unwrap().text_bytes_max, 1 << 30);
        assert_eq!(Unpacker::new(Codec::Gzip, 1 << 30).unwrap().text_bytes_max, 250 << 30);
    }
}
