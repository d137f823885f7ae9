//! Random plays and people that come, change and go in any order, against models of kind FULL with the same queries.

use std::hash::{BuildHasher, Hasher, RandomState};

use super::{people, plays, project, works};
use crate::{project::Project, requirement::variable};

/// Changes of the raw data in one test; `LAKEWRIGHT_KIND_STEPS` asks for more.
const STEPS: u32 = 4;
/// Raw objects of plays.
const OBJECTS: u32 = 6;

/// A table, its columns, its kind, its query, and what a FULL model of the query must leave out.
const TABLES: [(&str, &str, &str, &str, &str); 9] = [
    (
        "totals",
        "who, city, plays, cents, first",
        "INCREMENTAL_BY_UNIQUE_KEY (unique_key who)",
        "SELECT p.who, max(c.city) AS city, count(*) AS plays, sum(p.cents) AS cents, min(p.at) AS first\n\
         FROM staging.plays p LEFT JOIN staging.people c ON c.who = p.who WHERE p.song <> 's6' GROUP BY p.who",
        "",
    ),
    (
        "latest",
        "who, song, at",
        "INCREMENTAL_BY_UNIQUE_KEY (unique_key who)",
        "WITH ranked AS (SELECT *, row_number() OVER (PARTITION BY who ORDER BY at DESC, id DESC) AS n FROM staging.plays)\n\
         SELECT who, song, at FROM ranked WHERE n = 1",
        "",
    ),
    (
        "moments",
        "id, who, at, n, city",
        "INCREMENTAL_BY_UNIQUE_KEY (unique_key at)",
        "SELECT p.id, p.who, p.at, c.city,\n\
         row_number() OVER (PARTITION BY p.who, p.at ORDER BY p.id, p.cents) AS n\n\
         FROM (SELECT id, who, cents, timestamp_millis(unix_millis(at)) AS at FROM staging.plays) p\n\
         LEFT JOIN (SELECT who, min(city) AS city FROM staging.people GROUP BY who) c ON c.who = p.who",
        "",
    ),
    (
        "songs",
        "song, day, who",
        "INCREMENTAL_BY_UNIQUE_KEY (unique_key (song, day)), clustered_by who",
        "SELECT DISTINCT song, to_date(at) AS day, who FROM staging.plays\n\
         UNION ALL SELECT 'none', CAST('2018-11-01' AS DATE), who FROM staging.people WHERE city <> 'Rome'",
        "",
    ),
    (
        "days",
        "id, who, city, day, n",
        "INCREMENTAL_BY_PARTITION, partitioned_by day",
        "SELECT p.id, p.who, c.city, to_date(p.at) AS day,\n\
         row_number() OVER (PARTITION BY to_date(p.at), p.who ORDER BY p.id) AS n\n\
         FROM staging.plays p LEFT JOIN (SELECT who, min(city) AS city FROM staging.people GROUP BY who) c ON c.who = p.who",
        "",
    ),
    (
        "singers",
        "who, song, n",
        "INCREMENTAL_BY_PARTITION, partitioned_by (who, song)",
        "SELECT who, song, count(*) AS n FROM staging.plays GROUP BY who, song",
        "",
    ),
    (
        "sums",
        "day, plays, cents",
        "INCREMENTAL_BY_TIME_RANGE (time_column day, start '2018-11-03', interval_unit day)",
        "SELECT to_date(at) AS day, count(*) AS plays, sum(cents) AS cents FROM staging.plays GROUP BY to_date(at)",
        " HAVING to_date(at) >= CAST('2018-11-03' AS DATE)",
    ),
    (
        "hours",
        "id, at, city",
        "INCREMENTAL_BY_TIME_RANGE (time_column at, interval_unit hour)",
        "SELECT p.id, p.at, c.city FROM staging.plays p JOIN staging.people c ON c.who = p.who WHERE p.song <> 's1'",
        "",
    ),
    (
        "cities",
        "city, people, plays",
        "INCREMENTAL_BY_UNIQUE_KEY (unique_key city)",
        "SELECT city, count(*) AS people, sum(plays) AS plays FROM curated.totals GROUP BY city",
        "",
    ),
];

/// A generator of numbers that a seed decides.
struct Dice(u64);

impl Dice {
    /// A number below `sides`.
    fn roll(&mut self, sides: u32) -> u32 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        u32::try_from((self.0 >> 11) % u64::from(sides)).expect("it is below a u32")
    }
}

fn number(name: &str) -> Option<u64> {
    variable(name).map(|text| text.parse().unwrap_or_else(|_| panic!("{name} is no number: {text}")))
}

fn job() -> Project {
    let mut models = Vec::new();
    for (name, _, kind, query, only) in TABLES {
        models.push((format!("curated/{name}.sql"), format!("MODEL (kind {kind});\n{query}")));
        let query = query.replace("curated.", "whole.");
        models.push((format!("whole/{name}.sql"), format!("MODEL (kind FULL);\n{query}{only}")));
    }
    let loud = "MODEL (kind INCREMENTAL_BY_FILE);\nSELECT upper(who) AS who, plays FROM curated.totals";
    models.push(("curated/loud.sql".to_owned(), loud.to_owned()));
    models.push(("whole/loud.sql".to_owned(), loud.replace("INCREMENTAL_BY_FILE", "FULL").replace("curated", "whole")));
    let models: Vec<(&str, &str)> = models.iter().map(|(path, text)| (path.as_str(), text.as_str())).collect();
    project(&models)
}

/// Writes an object of plays, or takes it away.
fn change_plays(project: &Project, dice: &mut Dice, next_id: &mut u32) {
    const PEOPLE: [&str; 5] = ["ann", "bob", "eve", "kim", "zoe"];
    let object = dice.roll(OBJECTS);
    let path = project.path(&format!("data/raw/plays/{object:03}.json"));
    if dice.roll(4) == 0 && path.exists() {
        std::fs::remove_file(path).expect("it can be removed");
        return;
    }
    // Most plays are of a few days; some come a week late.
    let first_day = if dice.roll(3) == 0 { 0 } else { dice.roll(6) };
    let mut rows = Vec::new();
    for _ in 0..dice.roll(5) {
        *next_id += dice.roll(3);
        let who = PEOPLE[usize::try_from(dice.roll(5)).expect("it fits")];
        rows.push((*next_id, who, first_day * 24 + dice.roll(36)));
    }
    plays(project, object, &rows);
}

fn change_people(project: &Project, dice: &mut Dice) {
    const CITIES: [&str; 3] = ["Rome", "Oslo", "Bern"];
    let mut city = || CITIES[usize::try_from(dice.roll(3)).expect("it fits")];
    let rows = [("ann", city()), ("kim", city())];
    people(project, 1 + dice.roll(2), &rows);
}

/// The tables whose rows differ from those of their FULL twins, with how many do.
fn differences(project: &Project) -> String {
    let tables = TABLES.iter().map(|(name, columns, ..)| (*name, *columns)).chain([("loud", "who, plays")]);
    let question = tables.map(|(name, columns)| {
        format!(
            "SELECT '{name}' AS name, count(*) AS n FROM (SELECT {columns} FROM (SELECT {columns}, 1 AS d FROM \
             curated.{name} UNION ALL SELECT {columns}, -1 AS d FROM whole.{name}) GROUP BY {columns} HAVING sum(d) <> 0)"
        )
    });
    let all = question.collect::<Vec<_>>().join(" UNION ALL ");
    project.csv(&format!("SELECT name, n FROM ({all}) WHERE n > 0")).replace("name,n\n", "")
}

#[test]
fn whatever_comes_changes_and_goes_incremental_is_full() {
    // Each is seeded anew.
    let chance = || RandomState::new().build_hasher().finish();
    let seed = number("LAKEWRIGHT_SEED").unwrap_or_else(chance).max(1);
    let count = number("LAKEWRIGHT_KIND_STEPS").and_then(|count| u32::try_from(count).ok()).unwrap_or(STEPS);
    println!("LAKEWRIGHT_SEED={seed} LAKEWRIGHT_KIND_STEPS={count}");
    let (project, mut dice, mut next_id) = (job(), Dice(seed), 0);
    let mut updates = 0;
    for step in 0..count {
        for _ in 0..=dice.roll(2) {
            change_plays(&project, &mut dice, &mut next_id);
        }
        if dice.roll(3) == 0 {
            change_people(&project, &mut dice);
        }
        let verify = if dice.roll(2) == 0 { &["--verify-incremental"][..] } else { &[] };
        let run = project.json(&[&["run", "--accept-losses"], verify].concat());
        let done = works(&run);
        let is_update = |name: &str| done[&format!("curated.{name}")] == "update";
        updates += TABLES.iter().filter(|(name, ..)| is_update(name)).count();
        assert_eq!(differences(&project), "", "seed {seed}, step {step}: {done:?}");
    }
    assert!(count < 4 || updates > 0, "seed {seed}: no rows were computed by key");
}
