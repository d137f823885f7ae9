//! Who may call: bearer tokens, of which only hashes are kept.
//!
//! Data flow: `lakewright token create` -> the token, once, for its owner, and its hash in the token file -> a caller's
//! header -> [`Access::principal`].
//!
//! Invariant: the file holds no token. SHA-256 is enough for hashes, because a token is 256 random bits; every hash is
//! compared in constant time, and all of them at each call, so that time tells nothing about any.

use std::{
    fs::{self, File, OpenOptions},
    io::{self, Write},
    path::{Path, PathBuf},
    sync::{Arc, Mutex, PoisonError},
    time::SystemTime,
};

use lakewright_error::{Error, ErrorKind, Result};
use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};
use subtle::ConstantTimeEq;
use tokio_rustls::rustls::crypto::ring;

/// What every token begins with, so that scanners of secrets find it.
const PREFIX: &str = "lw_";

/// Tokens in one file.
const TOKENS_MAX: usize = 10_000;

/// Bytes of a token's name.
const NAME_BYTES_MAX: usize = 64;

/// One token, as it is kept.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Token {
    /// Whose it is: the principal of every run that it submits.
    pub name: String,
    /// SHA-256 of the token, in hexadecimal.
    pub sha256: String,
    /// When it was made, in microseconds since 1970-01-01T00:00:00Z.
    pub created_us: i64,
    /// From when on it is refused, in microseconds since 1970-01-01T00:00:00Z; `None` is never.
    pub expires_us: Option<i64>,
}

#[derive(Debug, Default, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Document {
    tokens: Vec<Token>,
}

/// The file of a scheduler's tokens.
#[derive(Clone, Debug)]
pub struct TokenFile {
    path: PathBuf,
}

impl TokenFile {
    /// Names the file; it need not exist.
    pub fn new(path: PathBuf) -> Self {
        Self { path }
    }

    /// Where it is.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Reads all tokens; a file that is not there has none.
    ///
    /// # Errors
    /// - [`ErrorKind::Invalid`]: it does not parse.
    /// - [`ErrorKind::Unavailable`]: it cannot be read.
    pub fn read(&self) -> Result<Vec<Token>> {
        let bytes = match fs::read(&self.path) {
            Ok(bytes) => bytes,
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Vec::new()),
            Err(error) => return Err(self.error("cannot read the tokens", error)),
        };
        let document: Document = serde_json::from_slice(&bytes).map_err(|error| {
            Error::new(ErrorKind::Invalid, "the token file does not parse")
                .with("file", self.path.display())
                .with_hint("restore it, or delete it and make new tokens with `lakewright token create`")
                .with_source(error)
        })?;
        Ok(document.tokens)
    }

    /// Makes a token, and gives it to its owner: it cannot be read again.
    ///
    /// # Errors
    /// - [`ErrorKind::Invalid`]: the name is empty, too long, or holds other than letters, digits and `-_.@`.
    /// - [`ErrorKind::Conflict`]: there is a token of this name.
    /// - As [`Self::read`].
    pub fn create(&self, name: &str, now_us: i64, expires_us: Option<i64>) -> Result<String> {
        let is_fine = |c: char| c.is_ascii_alphanumeric() || "-_.@".contains(c);
        if name.is_empty() || name.len() > NAME_BYTES_MAX || !name.chars().all(is_fine) {
            return Err(Error::new(ErrorKind::Invalid, "this cannot be a token's name")
                .with_hint(format!("use up to {NAME_BYTES_MAX} letters, digits, and - _ . @")));
        }
        let mut secret = [0u8; 32];
        ring::default_provider().secure_random.fill(&mut secret).map_err(|_| {
            Error::new(ErrorKind::Unavailable, "the system gives no random bytes, so no token can be made")
        })?;
        let text = format!("{PREFIX}{}", hex(&secret));
        self.change(|tokens| {
            if tokens.iter().any(|token| token.name == name) {
                return Err(Error::new(ErrorKind::Conflict, format!("there is a token of the name {name}"))
                    .with_hint("revoke it first with `lakewright token revoke`, or take another name"));
            }
            if tokens.len() >= TOKENS_MAX {
                return Err(Error::new(ErrorKind::Exhausted, "there are too many tokens").with("limit", TOKENS_MAX));
            }
            let sha256 = hex(&Sha256::digest(text.as_bytes()));
            tokens.push(Token { name: name.to_owned(), sha256, created_us: now_us, expires_us });
            Ok(())
        })?;
        Ok(text)
    }

    /// Takes a token away; from then on it is refused.
    ///
    /// # Errors
    /// - [`ErrorKind::NotFound`]: there is no token of this name.
    /// - As [`Self::read`].
    pub fn revoke(&self, name: &str) -> Result<()> {
        self.change(|tokens| {
            let before = tokens.len();
            tokens.retain(|token| token.name != name);
            if tokens.len() == before {
                return Err(Error::new(ErrorKind::NotFound, format!("there is no token of the name {name}"))
                    .with_hint("`lakewright token list` names them"));
            }
            Ok(())
        })
    }

    /// Changes the file while nobody else does; a reader sees the old file or the new one.
    fn change(&self, change: impl FnOnce(&mut Vec<Token>) -> Result<()>) -> Result<()> {
        let cannot = |error| self.error("cannot write the tokens", error);
        if let Some(folder) = self.path.parent() {
            fs::create_dir_all(folder).map_err(cannot)?;
        }
        let lock = File::create(self.path.with_extension("lock")).map_err(cannot)?;
        lock.lock().map_err(cannot)?;
        let mut tokens = self.read()?;
        change(&mut tokens)?;
        let text = serde_json::to_vec_pretty(&Document { tokens })
            .map_err(|error| Error::new(ErrorKind::Internal, "tokens have no JSON form").with_source(error))?;
        let fresh = self.path.with_extension("new");
        write_private(&fresh, &text).map_err(cannot)?;
        fs::rename(&fresh, &self.path).map_err(cannot)
    }

    fn modified(&self) -> Option<(SystemTime, u64)> {
        let meta = fs::metadata(&self.path).ok()?;
        Some((meta.modified().ok()?, meta.len()))
    }

    fn error(&self, message: &'static str, source: io::Error) -> Error {
        Error::new(ErrorKind::Unavailable, message).with("file", self.path.display()).with_source(source)
    }
}

/// Writes a file that only its owner may read.
fn write_private(path: &Path, bytes: &[u8]) -> io::Result<()> {
    let mut options = OpenOptions::new();
    options.write(true).create(true).truncate(true);
    #[cfg(unix)]
    std::os::unix::fs::OpenOptionsExt::mode(&mut options, 0o600);
    let mut file = options.open(path)?;
    file.write_all(bytes)?;
    file.sync_all()
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

/// Who may call a service.
#[derive(Debug)]
pub enum Access {
    /// Anybody: for loopback only.
    Anybody,
    /// Who has a token.
    Tokens(Tokens),
}

/// The tokens of a running service; a change of their file counts from the next call on.
#[derive(Debug)]
pub struct Tokens {
    file: TokenFile,
    read: Mutex<Read>,
}

#[derive(Debug, Default)]
struct Read {
    modified: Option<(SystemTime, u64)>,
    tokens: Arc<Vec<Token>>,
}

impl Access {
    /// Lets in who has a token of the file.
    ///
    /// # Errors
    /// - As [`TokenFile::read`]; [`ErrorKind::Invalid`] also if there is no token, for nobody could ever call.
    pub fn by_tokens(file: TokenFile) -> Result<Self> {
        let (modified, tokens) = (file.modified(), file.read()?);
        if tokens.is_empty() {
            return Err(Error::new(ErrorKind::Invalid, "there is no token, so nobody could call the scheduler")
                .with("file", file.path.display())
                .with_hint("make one with `lakewright token create NAME`"));
        }
        let read = Mutex::new(Read { modified, tokens: Arc::new(tokens) });
        Ok(Self::Tokens(Tokens { file, read }))
    }

    /// Whose call it is, by its `authorization` header; `None` if it is to be refused.
    pub(crate) fn principal(&self, header: Option<&[u8]>, now_us: i64) -> Option<String> {
        match self {
            Self::Anybody => Some(String::new()),
            Self::Tokens(tokens) => owner(&tokens.current(), bearer(header?)?, now_us),
        }
    }
}

impl Tokens {
    /// The tokens as the file has them now. A file that does not parse, or has gone, lets nobody in.
    fn current(&self) -> Arc<Vec<Token>> {
        let mut read = self.read.lock().unwrap_or_else(PoisonError::into_inner);
        let modified = self.file.modified();
        if read.modified != modified {
            let tokens = self.file.read().unwrap_or_else(|error| {
                tracing::error!(%error, "token file cannot be read: every call is refused");
                Vec::new()
            });
            *read = Read { modified, tokens: Arc::new(tokens) };
        }
        Arc::clone(&read.tokens)
    }
}

/// The token of `Bearer <token>`.
fn bearer(header: &[u8]) -> Option<&[u8]> {
    let (scheme, rest) = header.split_at_checked(7)?;
    scheme.eq_ignore_ascii_case(b"bearer ").then(|| rest.trim_ascii())
}

/// The owner of a token that has not expired.
fn owner(tokens: &[Token], presented: &[u8], now_us: i64) -> Option<String> {
    let digest = hex(&Sha256::digest(presented));
    let mut found = None;
    for token in tokens {
        let is_equal = bool::from(digest.as_bytes().ct_eq(token.sha256.as_bytes()));
        if is_equal && token.expires_us.is_none_or(|expires_us| now_us < expires_us) {
            found = Some(token.name.clone());
        }
    }
    found
}

#[cfg(test)]
mod tests {
    use super::*;

    fn file() -> (tempfile::TempDir, TokenFile) {
        let folder = tempfile::tempdir().unwrap();
        let file = TokenFile::new(folder.path().join("a/tokens.json"));
        (folder, file)
    }

    fn header(token: &str) -> Vec<u8> {
        format!("Bearer {token}").into_bytes()
    }

    #[test]
    fn a_token_lets_its_owner_in_until_it_expires_or_is_revoked() {
        let (_folder, file) = file();
        let mine = file.create("mine", 0, Some(100)).unwrap();
        let theirs = file.create("theirs", 0, None).unwrap();
        let access = Access::by_tokens(file.clone()).unwrap();
        assert_eq!(access.principal(Some(&header(&mine)), 99).as_deref(), Some("mine"));
        assert_eq!(access.principal(Some(&header(&mine)), 100), None);
        assert_eq!(access.principal(Some(&header(&theirs)), 100).as_deref(), Some("theirs"));
        file.revoke("theirs").unwrap();
        assert_eq!(access.principal(Some(&header(&theirs)), 100), None);
    }

    #[test]
    fn nothing_but_a_whole_token_lets_in() {
        let (_folder, file) = file();
        let token = file.create("mine", 0, None).unwrap();
        let access = Access::by_tokens(file).unwrap();
        let refused: [&[u8]; 6] =
            [b"", b"Bearer", b"Bearer ", b"Basic abcdefgh", &header(&token[..66]), &header(&format!("{token}0"))];
        for header in refused {
            assert_eq!(access.principal(Some(header), 0), None, "{}", String::from_utf8_lossy(header));
        }
        assert_eq!(access.principal(None, 0), None);
        assert_eq!(access.principal(Some(token.as_bytes()), 0), None);
    }

    #[test]
    fn the_file_holds_no_token_and_is_its_owners_alone() {
        let (_folder, file) = file();
        let token = file.create("mine", 0, None).unwrap();
        assert_eq!(token.len(), 3 + 64);
        let text = fs::read_to_string(file.path()).unwrap();
        assert!(!text.contains(&token[3..]), "{text}");
        #[cfg(unix)]
        {
            use std::os::unix::fs::PermissionsExt;
            assert_eq!(fs::metadata(file.path()).unwrap().permissions().mode() & 0o777, 0o600);
        }
    }

    #[test]
    fn a_name_is_taken_once_and_holds_no_odd_characters() {
        let (_folder, file) = file();
        file.create("mine", 0, None).unwrap();
        assert_eq!(file.create("mine", 0, None).unwrap_err().kind(), ErrorKind::Conflict);
        for name in ["", "a b", "a\n", &"a".repeat(65)] {
            assert_eq!(file.create(name, 0, None).unwrap_err().kind(), ErrorKind::Invalid, "{name}");
        }
        assert_eq!(file.revoke("other").unwrap_err().kind(), ErrorKind::NotFound);
    }

    #[test]
    fn a_file_that_breaks_lets_nobody_in() {
        let (_folder, file) = file();
        let token = file.create("mine", 0, None).unwrap();
        let access = Access::by_tokens(file.clone()).unwrap();
        fs::write(file.path(), "nonsense that is not as long").unwrap();
        assert_eq!(access.principal(Some(&header(&token)), 0), None);
    }

    #[test]
    fn a_service_that_nobody_could_call_does_not_start() {
        let (_folder, file) = file();
        assert_eq!(Access::by_tokens(file).unwrap_err().kind(), ErrorKind::Invalid);
    }
}
