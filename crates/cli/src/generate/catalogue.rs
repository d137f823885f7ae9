//! The songs and artists of generated data.
//!
//! Invariant: a song follows from the seed and its index, so that a play can name any song without a list of them.

use super::{
    random::Random,
    vocabulary::{ARTIST_FIRST_WORDS, ARTIST_LAST_WORDS, ARTIST_LOCATIONS, TITLE_ENDINGS, TITLE_WORDS},
};

/// All songs: those with an index below `songs` have a file, the others are only played.
#[derive(Clone, Copy, Debug)]
pub(super) struct Catalogue {
    seed: u64,
    songs: u64,
}

/// One song file.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Song {
    pub(super) artist_id: String,
    pub(super) artist_place: Option<Place>,
    pub(super) artist_location: &'static str,
    pub(super) artist_name: String,
    pub(super) song_id: String,
    pub(super) title: String,
    pub(super) duration: Decimal,
    /// 0 when unknown.
    pub(super) year: u64,
}

/// Where an artist is from.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Place {
    pub(super) latitude: Decimal,
    pub(super) longitude: Decimal,
}

/// A number in hundred thousandths: what the files state, without a float that platforms could round apart.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Decimal(pub(super) i64);

impl Decimal {
    /// The whole part of a number that is not negative.
    pub(super) fn whole(self) -> i64 {
        self.0 / 100_000
    }
}

const SONG: u64 = 1;
const ARTIST: u64 = 2;
/// Songs in one folder, unless the folders' three letters do not suffice.
const SONGS_PER_FOLDER: u64 = 30;
const FOLDERS_MAX: u64 = 26_u64.pow(3);
const LETTERS: &[u8; 26] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZ";

impl Catalogue {
    pub(super) fn new(seed: u64, songs: u64) -> Self {
        Self { seed, songs }
    }

    /// The index of a song that somebody plays: seven of ten plays are of songs with a file, some of them far more often
    /// than others.
    pub(super) fn played(&self, random: &mut Random) -> u64 {
        let filed = random.chance(70);
        if filed { random.skewed_below(self.songs) } else { self.songs + random.skewed_below(4 * self.songs + 1000) }
    }

    /// The song at `index`.
    pub(super) fn song(&self, index: u64) -> Song {
        let mut random = Random::of(self.seed, SONG, index);
        // Catalogues hold some songs twice, under two ids.
        let twin = index > 0 && random.below(200) == 0;
        let source = if twin { index - 1 } else { index };
        let mut song = self.original(source);
        song.song_id = song_id(self.seed, index);
        song
    }

    fn original(&self, index: u64) -> Song {
        let mut random = Random::of(self.seed, SONG, index);
        random.next();
        let artist = random.skewed_below(artist_count(self.songs));
        let title = title(&mut random);
        // The sum of three draws lies around its middle: most songs last about four minutes, few one or ten.
        let duration =
            6_000_000 + random.below(12_000_000) + random.below(12_000_000) + random.skewed_below(24_000_000);
        let year = if random.chance(60) { 0 } else { 2010 - random.skewed_below(60) };
        let mut song = self.by_artist(artist);
        // Files of one artist do not always agree about the name and the place.
        if random.below(20) == 0 {
            song.artist_name.push_str(" feat. ");
            song.artist_name.push_str(&artist_name(&mut random));
            song.artist_location = "";
            song.artist_place = None;
        }
        Song { title, duration: Decimal(signed(duration)), year, ..song }
    }

    /// A song without properties of its own.
    fn by_artist(&self, artist: u64) -> Song {
        let mut random = Random::of(self.seed, ARTIST, artist);
        let artist_place = random.chance(44).then(|| Place {
            latitude: Decimal(signed(random.below(12_000_000)) - 5_000_000),
            longitude: Decimal(signed(random.below(30_000_000)) - 15_000_000),
        });
        Song {
            artist_id: format!("AR{}1187B{:04X}", letters(artist_code(self.seed, artist), 7), random.below(1 << 16)),
            artist_place,
            artist_location: random.pick(ARTIST_LOCATIONS),
            artist_name: artist_name(&mut random),
            song_id: String::new(),
            title: String::new(),
            duration: Decimal(0),
            year: 0,
        }
    }

    /// The folder below `song_data` and the name of the song file at `index`: the folder repeats the name's letters.
    pub(super) fn location(&self, index: u64) -> (String, String) {
        let songs_per_folder = SONGS_PER_FOLDER.max(self.songs / FOLDERS_MAX + 1);
        let folder = letters(index / songs_per_folder, 3);
        let tail = Random::of(self.seed, SONG, index).below(1 << 28);
        let file = format!("TR{folder}{}128F{tail:07X}.json", letters(index % songs_per_folder, 2));
        let mut nested = String::with_capacity(5);
        for letter in folder.chars() {
            if !nested.is_empty() {
                nested.push('/');
            }
            nested.push(letter);
        }
        (nested, file)
    }
}

fn artist_count(songs: u64) -> u64 {
    songs * 2 / 3 + 1
}

fn artist_name(random: &mut Random) -> String {
    let first = random.pick(ARTIST_FIRST_WORDS);
    let last = random.pick(ARTIST_LAST_WORDS);
    if random.chance(20) { format!("{first} {} {last}", random.pick(TITLE_WORDS)) } else { format!("{first} {last}") }
}

fn title(random: &mut Random) -> String {
    let mut title = random.pick(TITLE_WORDS).to_owned();
    for _ in 0..random.below(4) {
        title.push(' ');
        title.push_str(random.pick(TITLE_WORDS));
    }
    if random.chance(12) {
        title.push_str(random.pick(TITLE_ENDINGS));
    }
    title
}

/// `SO`, seven letters, `12A`, six hexadecimal digits; the letters of two songs differ.
fn song_id(seed: u64, index: u64) -> String {
    let tail = Random::of(seed, SONG, index ^ u64::MAX).below(1 << 24);
    format!("SO{}12A{tail:06X}", letters(scatter(seed, index), 7))
}

fn artist_code(seed: u64, artist: u64) -> u64 {
    scatter(seed ^ ARTIST, artist)
}

/// The number of texts of seven letters.
const SEVEN_LETTERS: u64 = 26_u64.pow(7);

/// Maps indexes to numbers below [`SEVEN_LETTERS`] that look unordered, no two to the same one.
fn scatter(seed: u64, index: u64) -> u64 {
    // Neither 2 nor 13 divides the factor, so that it permutes the numbers modulo 26^7.
    let product = u128::from(index % SEVEN_LETTERS) * 4_982_353_717 + u128::from(seed % SEVEN_LETTERS);
    u64::try_from(product % u128::from(SEVEN_LETTERS)).unwrap_or_default()
}

/// `value` in base 26, written in `width` letters.
fn letters(value: u64, width: u32) -> String {
    (0..width)
        .rev()
        .map(|place| {
            let digit = usize::try_from(value / 26_u64.pow(place) % 26).unwrap_or_default();
            LETTERS.get(digit).copied().map_or('A', char::from)
        })
        .collect()
}

fn signed(value: u64) -> i64 {
    i64::try_from(value).unwrap_or(i64::MAX)
}
