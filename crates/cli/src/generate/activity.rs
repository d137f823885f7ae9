//! Who does what and when in generated data: users, their sessions, and the events of each day.
//!
//! Invariants: each day has exactly its number of events, in the order of their times, all within the day; only the
//! sessions under way are in memory, and one byte per user.

use std::{cmp::Reverse, collections::BinaryHeap};

use chrono::{Datelike, Days, NaiveDate};

use super::{
    catalogue::{Catalogue, Decimal},
    random::Random,
    vocabulary::{FIRST_NAMES, HOUR_WEIGHTS, LAST_NAMES, USER_AGENTS, USER_LOCATIONS},
};

/// One day's log.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Day {
    pub(super) date: NaiveDate,
    pub(super) events: u64,
}

/// One line of a log.
#[derive(Clone, Debug)]
pub(super) struct Event {
    /// None while logged out.
    pub(super) user: Option<User>,
    pub(super) play: Option<Play>,
    pub(super) item_in_session: u64,
    pub(super) paid: bool,
    pub(super) page: Page,
    pub(super) session_id: u64,
    /// Milliseconds since 1970.
    pub(super) ts: i64,
}

/// What the events of a user repeat.
#[derive(Clone, Copy, Debug)]
pub(super) struct User {
    pub(super) id: u64,
    pub(super) first_name: &'static str,
    pub(super) gender: &'static str,
    pub(super) last_name: &'static str,
    pub(super) location: &'static str,
    pub(super) user_agent: &'static str,
    /// Milliseconds since 1970.
    pub(super) registration: i64,
}

/// The song of a NextSong event.
#[derive(Clone, Debug)]
pub(super) struct Play {
    pub(super) song: String,
    pub(super) artist: String,
    pub(super) length: Decimal,
}

/// What a request asked for.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Page {
    pub(super) name: &'static str,
    pub(super) method: &'static str,
    pub(super) status: u32,
}

const fn get(name: &'static str) -> Page {
    Page { name, method: "GET", status: 200 }
}

const fn put(name: &'static str) -> Page {
    Page { name, method: "PUT", status: 307 }
}

const NEXT_SONG: Page = Page { name: "NextSong", method: "PUT", status: 200 };
const HOME: Page = get("Home");
const LOGIN: Page = put("Login");
const LOGOUT: Page = put("Logout");
const SUBMIT_UPGRADE: Page = put("Submit Upgrade");
const SUBMIT_DOWNGRADE: Page = put("Submit Downgrade");
/// The pages between songs, the frequent ones more than once.
const OTHER_PAGES: &[Page] = &[
    HOME,
    HOME,
    HOME,
    HOME,
    HOME,
    HOME,
    HOME,
    HOME,
    get("Settings"),
    put("Save Settings"),
    get("Help"),
    get("About"),
    get("Downgrade"),
    get("Upgrade"),
    Page { name: "Error", method: "GET", status: 404 },
];

/// The users, and their sessions under way.
#[derive(Debug)]
pub(super) struct Activity<'a> {
    seed: u64,
    catalogue: &'a Catalogue,
    random: Random,
    /// Whether each user pays.
    paid: Vec<bool>,
    sessions: BinaryHeap<Reverse<Session>>,
    sessions_begun: u64,
    repeat: Option<Event>,
}

/// A session under way. The order is that of the next events.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
struct Session {
    /// Seconds since 1970.
    next_at: i64,
    id: u64,
    user: usize,
    items: u64,
    logged_in: bool,
    events_left: u64,
}

const USER: u64 = 3;
const ACTIVITY: u64 = 4;
const DAY: u64 = 5;
/// Events per user, about.
const EVENTS_PER_USER: u64 = 80;
const USERS_MAX: u64 = 4_000_000;
const SECONDS_PER_DAY: u64 = 86_400;
/// The milliseconds of every time: the sample's clock counts whole seconds from an odd start.
const CLOCK_OFFSET_MS: i64 = 796;

impl Day {
    /// Spreads events over days from 2018-11-01: fewer at weekends, none lost.
    pub(super) fn spread(seed: u64, events: u64, days: u32) -> impl Iterator<Item = Self> {
        let weight = move |date: NaiveDate| {
            let weekend = date.weekday().number_from_monday() > 5;
            let noise = Random::of(seed, DAY, u64::from(date.num_days_from_ce().unsigned_abs())).below(8);
            noise + if weekend { 4 } else { 9 }
        };
        let first = NaiveDate::from_ymd_opt(2018, 11, 1).unwrap_or_default();
        let dates = move || (0..u64::from(days)).map(move |day| first + Days::new(day));
        let total: u64 = dates().map(weight).sum();
        let mut weight_so_far = 0;
        let mut events_so_far = 0;
        dates().map(move |date| {
            weight_so_far += weight(date);
            let until = proportion(events, weight_so_far, total);
            let events = until - events_so_far;
            events_so_far = until;
            Self { date, events }
        })
    }

    /// When the event at `index` is due, in seconds since 1970, by the hours' weights.
    fn due_at(self, index: u64) -> i64 {
        let total = HOUR_WEIGHTS.iter().sum::<u64>() * 3600;
        let mut position = proportion(total, index, self.events);
        let mut second = SECONDS_PER_DAY - 1;
        for (hour, weight) in (0_u64..).zip(HOUR_WEIGHTS) {
            if position < weight * 3600 {
                second = hour * 3600 + position / weight;
                break;
            }
            position -= weight * 3600;
        }
        self.begins_at() + i64::try_from(second).unwrap_or_default()
    }

    fn begins_at(self) -> i64 {
        self.date.and_time(chrono::NaiveTime::MIN).and_utc().timestamp()
    }

    fn ends_at(self) -> i64 {
        self.begins_at() + 86_399
    }
}

impl<'a> Activity<'a> {
    pub(super) fn new(seed: u64, events: u64, catalogue: &'a Catalogue) -> Self {
        let users = (events / EVENTS_PER_USER + 5).min(USERS_MAX);
        let paid = (0..users).map(|user| Random::of(seed, USER, user).chance(22)).collect();
        Self {
            seed,
            catalogue,
            random: Random::of(seed, ACTIVITY, 0),
            paid,
            sessions: BinaryHeap::new(),
            sessions_begun: 0,
            repeat: None,
        }
    }

    /// The event at `index` of `day`; days and indexes are asked for in their order.
    ///
    /// The session that is due next has it, if one is due by the time that the hours' weights give to `index`, and else
    /// a session that begins then: sessions begin as fast as events are wanted, whatever their lengths.
    pub(super) fn next_event(&mut self, day: Day, index: u64) -> Event {
        if let Some(event) = self.repeat.take() {
            return event;
        }
        let due_at = day.due_at(index);
        let mut session = match self.sessions.pop() {
            Some(Reverse(session)) if session.next_at <= due_at => session,
            other => {
                self.sessions.extend(other);
                self.begin_session(due_at)
            }
        };
        // A session that lags behind from the day before goes on in this one.
        session.next_at = session.next_at.max(day.begins_at());
        let at = session.next_at;
        let event = self.continue_session(&mut session);
        session.next_at = at + event.play.as_ref().map_or_else(|| self.pause(), |play| play.length.whole());
        session.events_left = session.events_left.saturating_sub(1);
        if session.events_left > 0 {
            self.sessions.push(Reverse(session));
        }
        // Logs are delivered at least once: some lines come twice.
        if event.play.is_some() && index + 1 < day.events && self.random.below(2000) == 0 {
            self.repeat = Some(event.clone());
        }
        debug_assert!(at <= day.ends_at());
        event
    }

    fn begin_session(&mut self, at: i64) -> Session {
        let users = self.paid.len() as u64;
        let user = usize::try_from(self.random.skewed_below(users)).unwrap_or_default();
        let paid = self.paid.get(user).copied().unwrap_or_default();
        let events_left = if paid { 1 + self.random.skewed_below(96) } else { 1 + self.random.skewed_below(9) };
        self.sessions_begun += 1;
        let logged_in = !self.random.chance(12);
        Session { next_at: at, id: self.sessions_begun, user, items: 0, logged_in, events_left }
    }

    fn continue_session(&mut self, session: &mut Session) -> Event {
        let paid = self.paid.get(session.user).copied().unwrap_or_default();
        let page = self.choose_page(session, paid);
        let play = (page == NEXT_SONG).then(|| {
            let song = self.catalogue.song(self.catalogue.played(&mut self.random));
            Play { song: song.title, artist: song.artist_name, length: song.duration }
        });
        let event = Event {
            user: session.logged_in.then(|| self.user(session.user as u64)),
            play,
            item_in_session: session.items,
            paid,
            page,
            session_id: session.id,
            ts: session.next_at * 1000 + CLOCK_OFFSET_MS,
        };
        session.items += 1;
        match page {
            LOGIN => session.logged_in = true,
            LOGOUT => session.logged_in = false,
            SUBMIT_UPGRADE => self.set_paid(session.user, true),
            SUBMIT_DOWNGRADE => self.set_paid(session.user, false),
            _ => {}
        }
        event
    }

    fn choose_page(&mut self, session: &Session, paid: bool) -> Page {
        if !session.logged_in {
            return match self.random.below(10) {
                0..4 => LOGIN,
                4 => self.random.pick(&[get("About"), get("Help")]),
                _ => HOME,
            };
        }
        match self.random.below(1000) {
            0..870 => NEXT_SONG,
            870..882 => LOGOUT,
            882..884 if paid => SUBMIT_DOWNGRADE,
            882..886 if !paid => SUBMIT_UPGRADE,
            _ => self.random.pick(OTHER_PAGES),
        }
    }

    fn set_paid(&mut self, user: usize, paid: bool) {
        if let Some(entry) = self.paid.get_mut(user) {
            *entry = paid;
        }
    }

    /// Seconds on a page that plays nothing.
    fn pause(&mut self) -> i64 {
        i64::try_from(self.random.skewed_below(120)).unwrap_or_default()
    }

    fn user(&self, index: u64) -> User {
        let mut random = Random::of(self.seed, USER, index);
        random.next();
        let (first_name, gender) = random.pick(FIRST_NAMES);
        User {
            id: index + 1,
            first_name,
            gender,
            last_name: random.pick(LAST_NAMES),
            location: random.pick(USER_LOCATIONS),
            user_agent: random.pick(USER_AGENTS),
            // Within the month before the first log.
            registration: (1_538_352_000 + i64::try_from(random.below(2_600_000)).unwrap_or_default()) * 1000
                + CLOCK_OFFSET_MS,
        }
    }
}

/// `part` / `whole` of `value`, rounded down.
fn proportion(value: u64, part: u64, whole: u64) -> u64 {
    u64::try_from(u128::from(value) * u128::from(part) / u128::from(whole.max(1))).unwrap_or(u64::MAX)
}
