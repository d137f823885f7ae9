//! What generated data must be: the same bytes for the same seed, and the shapes of real song files and event logs.

use std::{
    collections::{BTreeMap, BTreeSet},
    fs,
    path::{Path, PathBuf},
};

use serde_json::Value;

use super::*;

const SMALL: MusicData = MusicData { seed: 7, events: 20_000, songs: 500, days: 30 };

/// All files below `folder`: relative path with `/`, and content.
fn files(folder: &Path) -> BTreeMap<String, String> {
    let mut found = BTreeMap::new();
    let mut folders = vec![PathBuf::new()];
    while let Some(relative) = folders.pop() {
        for entry in fs::read_dir(folder.join(&relative)).expect("the folder is there") {
            let entry = entry.expect("the folder can be listed");
            let path = relative.join(entry.file_name());
            if entry.path().is_dir() {
                folders.push(path);
            } else {
                let text = fs::read_to_string(entry.path()).expect("the file is text");
                found.insert(path.to_string_lossy().replace('\\', "/"), text);
            }
        }
    }
    found
}

fn generate(data: MusicData) -> BTreeMap<String, String> {
    let folder = tempfile::tempdir().expect("a folder can be made");
    let written = data.write_to(folder.path()).expect("the data can be written");
    let files = files(folder.path());
    assert_eq!(written.objects, files.len() as u64);
    assert_eq!(written.size_bytes, files.values().map(|text| text.len() as u64).sum::<u64>());
    files
}

fn events(files: &BTreeMap<String, String>) -> Vec<Value> {
    let logs = files.iter().filter(|(path, _)| path.starts_with("log_data/"));
    logs.flat_map(|(_, text)| text.lines()).map(|line| serde_json::from_str(line).expect("a line is JSON")).collect()
}

/// FNV-1a over paths and contents: stable over platforms and toolchains.
fn digest(files: &BTreeMap<String, String>) -> u64 {
    let bytes = files.iter().flat_map(|(path, text)| path.bytes().chain([0]).chain(text.bytes()).chain([0]));
    bytes.fold(0xcbf2_9ce4_8422_2325, |hash, byte| (hash ^ u64::from(byte)).wrapping_mul(0x0100_0000_01b3))
}

#[test]
fn a_seed_gives_the_same_bytes_on_every_platform() {
    assert_eq!(digest(&generate(MusicData { events: 2_000, songs: 40, days: 3, ..SMALL })), 8_487_488_876_629_803_033);
}

#[test]
fn another_seed_gives_other_bytes() {
    let size = MusicData { events: 100, songs: 5, days: 2, ..SMALL };
    assert_ne!(digest(&generate(size)), digest(&generate(MusicData { seed: 8, ..size })));
}

#[test]
fn every_event_and_song_asked_for_is_written() {
    for (events_asked, songs, days) in [(1, 1, 1), (10, 3, 400), (20_000, 500, 30)] {
        let files = generate(MusicData { seed: 1, events: events_asked, songs, days });
        assert_eq!(events(&files).len() as u64, events_asked);
        assert_eq!(files.keys().filter(|path| path.starts_with("song_data/")).count() as u64, songs);
    }
}

#[test]
fn songs_lie_in_folders_named_by_their_track_id() {
    let files = generate(MusicData { events: 1, ..SMALL });
    let songs = files.iter().filter(|(path, _)| path.starts_with("song_data/"));
    let mut song_ids = BTreeSet::new();
    for (path, text) in songs {
        let parts: Vec<&str> = path.split('/').collect();
        let [_, first, second, third, name] = parts[..] else { panic!("{path}") };
        assert!(name.starts_with(&format!("TR{first}{second}{third}")), "{path}");
        let song: Value = serde_json::from_str(text).expect("a song file is JSON");
        assert!(song_ids.insert(song["song_id"].to_string()), "song_id twice: {path}");
        assert_eq!(song["song_id"].as_str().map(str::len), Some(18));
        assert_eq!(song["artist_id"].as_str().map(str::len), Some(18));
    }
}

#[test]
fn a_song_file_has_the_fields_in_the_order_of_the_catalogue() {
    let files = generate(MusicData { events: 1, songs: 1, ..SMALL });
    let song = files.iter().find(|(path, _)| path.starts_with("song_data/")).expect("a song").1;
    let names: Vec<&str> = song.split("\": ").filter_map(|part| part.rsplit('"').next()).collect();
    let expected = "num_songs artist_id artist_latitude artist_longitude artist_location artist_name song_id title \
                    duration year";
    assert_eq!(names[..10].join(" "), expected);
    assert!(!song.ends_with('\n'));
}

#[test]
fn a_log_holds_the_events_of_its_day_in_order() {
    let files = generate(SMALL);
    for (path, text) in files.iter().filter(|(path, _)| path.starts_with("log_data/")) {
        let mut last = 0;
        for line in text.lines() {
            let event: Value = serde_json::from_str(line).expect("a line is JSON");
            let ts = event["ts"].as_i64().expect("a time");
            let date = chrono::DateTime::from_timestamp_millis(ts).expect("a valid time");
            assert_eq!(date.format("log_data/%Y/%m/%Y-%m-%d-events.json").to_string(), *path);
            assert!(ts >= last, "{path}: {ts} after {last}");
            last = ts;
        }
    }
}

#[test]
fn an_event_has_the_fields_in_the_order_of_the_logs() {
    let files = generate(MusicData { events: 1, songs: 1, ..SMALL });
    let line = files.iter().find(|(path, _)| path.starts_with("log_data/")).expect("a log").1;
    let names: Vec<&str> = line.split("\":").filter_map(|part| part.rsplit('"').next()).collect();
    let expected = "artist auth firstName gender itemInSession lastName length level location method page registration \
                    sessionId song status ts userAgent userId";
    assert_eq!(names[..18].join(" "), expected);
}

#[test]
fn logged_out_events_name_no_user_and_only_plays_name_a_song() {
    let mut logged_out = 0;
    for event in events(&generate(SMALL)) {
        let user_fields = ["firstName", "lastName", "gender", "location", "registration", "userAgent"];
        let out = event["auth"] == "Logged Out";
        logged_out += u32::from(out);
        assert_eq!(event["userId"] == "", out, "{event}");
        assert!(user_fields.iter().all(|field| event[field].is_null() == out), "{event}");
        let play = event["page"] == "NextSong";
        assert!(["artist", "song", "length"].iter().all(|field| event[field].is_null() != play), "{event}");
    }
    assert!(logged_out > 100, "{logged_out}");
}

#[test]
fn activity_is_as_skewed_as_in_real_logs() {
    let events = events(&generate(SMALL));
    let share =
        |field: &str, value: &str| 100 * events.iter().filter(|event| event[field] == value).count() / events.len();
    assert!((75..92).contains(&share("page", "NextSong")), "{}", share("page", "NextSong"));
    assert!((55..90).contains(&share("level", "paid")), "{}", share("level", "paid"));
    let mut levels: BTreeMap<&str, BTreeSet<&str>> = BTreeMap::new();
    for event in events.iter().filter(|event| event["userId"] != "") {
        let user = event["userId"].as_str().expect("a text");
        levels.entry(user).or_default().insert(event["level"].as_str().expect("a text"));
    }
    assert!(levels.len() > 100, "{} users", levels.len());
    assert!(levels.values().any(|levels| levels.len() == 2), "nobody changes level");
    let repeated = events.windows(2).filter(|pair| pair[0] == pair[1]).count();
    assert!((1..40).contains(&repeated), "{repeated} lines come twice");
}

#[test]
fn most_plays_are_of_songs_with_a_file() {
    let files = generate(SMALL);
    let key = |song: &Value, names: [&str; 3]| names.map(|name| song[name].to_string());
    let songs: Vec<Value> = files
        .iter()
        .filter(|(path, _)| path.starts_with("song_data/"))
        .map(|(_, text)| serde_json::from_str(text).expect("a song file is JSON"))
        .collect();
    let catalogue: BTreeSet<_> = songs.iter().map(|song| key(song, ["title", "artist_name", "duration"])).collect();
    assert!(catalogue.len() < songs.len(), "no song is there twice");
    let (mut plays, mut matched) = (0, 0);
    for event in events(&files).iter().filter(|event| event["page"] == "NextSong") {
        plays += 1;
        matched += usize::from(catalogue.contains(&key(event, ["song", "artist", "length"])));
    }
    assert!((60..80).contains(&(100 * matched / plays)), "{matched} of {plays}");
}

#[test]
fn a_size_of_zero_is_refused_before_anything_is_written() {
    let folder = tempfile::tempdir().expect("a folder can be made");
    for data in [MusicData { events: 0, ..SMALL }, MusicData { songs: 0, ..SMALL }, MusicData { days: 0, ..SMALL }] {
        let error = data.write_to(folder.path()).expect_err("zero is refused");
        assert_eq!(error.kind(), ErrorKind::Invalid);
    }
    assert_eq!(files(folder.path()).len(), 0);
}
