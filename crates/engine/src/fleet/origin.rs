//! Which run and step a task is part of: settings of a plan's session, which travel with each of its tasks.
//!
//! Data flow: a step's session on the scheduler -> Ballista hands settings on -> [`TaskOrigin::of`] on an executor, for its
//! logs.
//!
//! Invariant: it decides nothing. A task without an origin runs as any other.

use std::any::Any;

use datafusion::{
    common::{
        Result,
        config::{ConfigEntry, ConfigExtension, ExtensionOptions},
        config_err,
    },
    prelude::SessionConfig,
};

/// What a task is part of; empty where nothing said so.
#[derive(Clone, Debug, Default)]
pub struct TaskOrigin {
    /// The lake of the run, as a user types it.
    pub lake: String,
    /// The run.
    pub run_id: String,
    /// The table that the step writes, as `zone.table`.
    pub step: String,
}

// By hand: DataFusion's macro leaves the prefix out of the keys, and without it they are not taken on the other side.
impl ExtensionOptions for TaskOrigin {
    fn as_any(&self) -> &dyn Any {
        self
    }

    fn as_any_mut(&mut self) -> &mut dyn Any {
        self
    }

    fn cloned(&self) -> Box<dyn ExtensionOptions> {
        Box::new(self.clone())
    }

    fn set(&mut self, key: &str, value: &str) -> Result<()> {
        let field = match key {
            "lake" => &mut self.lake,
            "run_id" => &mut self.run_id,
            "step" => &mut self.step,
            _ => return config_err!("a task's origin has no `{key}`"),
        };
        value.clone_into(field);
        Ok(())
    }

    fn entries(&self) -> Vec<ConfigEntry> {
        let entry = |key: &str, value: &str| ConfigEntry {
            key: format!("{}.{key}", Self::PREFIX),
            value: Some(value.to_owned()),
            description: "what a task is part of",
        };
        vec![entry("lake", &self.lake), entry("run_id", &self.run_id), entry("step", &self.step)]
    }
}

impl ConfigExtension for TaskOrigin {
    const PREFIX: &'static str = "lakewright";
}

impl TaskOrigin {
    /// The tasks of a step.
    #[must_use]
    pub fn new(lake: String, run_id: String, step: String) -> Self {
        Self { lake, run_id, step }
    }

    /// What the tasks of a session are part of; `None` if nothing says so.
    #[must_use]
    pub fn of(config: &SessionConfig) -> Option<&Self> {
        config.options().extensions.get::<Self>().filter(|origin| !origin.run_id.is_empty())
    }
}

#[cfg(test)]
mod tests {
    use ballista_core::extension::SessionConfigHelperExt;

    use super::*;

    #[test]
    fn it_travels_as_settings_do_and_is_none_where_nobody_has_set_it() {
        let base = SessionConfig::new().with_option_extension(TaskOrigin::default());
        assert!(TaskOrigin::of(&base).is_none());
        let mut sent = base.clone();
        let origin = TaskOrigin::new("s3://b/lake".to_owned(), "r1".to_owned(), "staging.events".to_owned());
        sent.options_mut().extensions.insert(origin);
        let arrived = base.update_from_key_value_pair(&sent.to_key_value_pairs());
        let origin = TaskOrigin::of(&arrived).unwrap();
        assert_eq!((origin.lake.as_str(), origin.run_id.as_str()), ("s3://b/lake", "r1"));
        assert_eq!(origin.step, "staging.events");
    }
}
