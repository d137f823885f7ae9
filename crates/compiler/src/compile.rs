//! Compiles a job folder as a whole.
//!
//! Data flow: [`JobFolder`] -> layout -> manifest, sources, drafts of models -> the graph orders them -> schemas flow
//! down it -> [`Job`].
//!
//! Invariant: every file is looked at whatever is wrong with the others; what only follows from an error is not reported.

use std::{
    collections::{BTreeMap, BTreeSet},
    ops::Range,
};

use datafusion::{arrow::datatypes::SchemaRef, execution::FunctionRegistry};

use crate::{
    Analysis, Diagnostic, Diagnostics, Job, JobFolder, Model, ParamType, Severity, Source, TableName, UnitTest,
    checks::CheckScope,
    graph::{Order, Reads, order_models},
    header::built_in_audits,
    layout::{Layout, lay_out},
    manifest::parse_manifest,
    model::{Draft, Scope, UNKNOWN_TABLE, first_mentions, read_model, wrong_names},
    own_audit::parse_audit,
    query::parse_query,
    source::compile_source,
    suggest::closest,
    text::FileText,
    tokens::{comment_above, lex, text_range},
    unit_test::{TestScope, read_tests},
};

/// Compiles a job folder: every table gets its schema, every query its canonical SQL, without touching data.
///
/// `functions` are those that SQL may call. `overrides` are values for declared parameters, as text.
///
/// # Errors
/// Every finding of all files, if at least one is an error.
pub fn compile_job(
    folder: &JobFolder,
    functions: &dyn FunctionRegistry,
    overrides: &BTreeMap<String, String>,
) -> Result<Job, Diagnostics> {
    let (layout, mut findings) = lay_out(folder);
    let manifest_file = layout.manifest.unwrap_or(FileText::new("job.toml", ""));
    let (manifest, manifest_findings) = match layout.manifest {
        Some(file) => parse_manifest(file),
        None => Default::default(),
    };
    findings.extend(manifest_findings);
    let (params, param_findings) = manifest.params(manifest_file, overrides);
    findings.extend(param_findings);
    let param_types = manifest.param_types();

    let mut compiler = Compiler { layout: &layout, findings, schemas: BTreeMap::new() };
    let sources = compiler.sources();
    let models = compiler.models(functions, &param_types);
    let analyses = compiler.analyses(functions, &param_types);
    let tests = compiler.tests(TestScope { sources: &sources, models: &models, params: &params });
    let findings = in_order(compiler.findings);
    if findings.iter().any(|finding| finding.severity == Severity::Error) {
        return Err(Diagnostics(findings));
    }
    let (name, raw, lake) = (manifest.name, manifest.raw, manifest.lake);
    Ok(Job { name, raw, lake, params, sources, models, analyses, tests, warnings: findings })
}

/// By file and position, without repetitions.
fn in_order(mut findings: Vec<Diagnostic>) -> Vec<Diagnostic> {
    findings.sort_by(|one, other| {
        let key = |finding: &Diagnostic| (finding.span.start, finding.span.end, finding.severity);
        one.file
            .cmp(&other.file)
            .then_with(|| key(one).cmp(&key(other)))
            .then_with(|| (one.code, &one.message).cmp(&(other.code, &other.message)))
    });
    findings.dedup();
    findings
}

struct Compiler<'l> {
    layout: &'l Layout<'l>,
    findings: Vec<Diagnostic>,
    /// Of the tables without errors.
    schemas: BTreeMap<TableName, SchemaRef>,
}

impl<'l> Compiler<'l> {
    fn sources(&mut self) -> BTreeMap<TableName, Source> {
        let mut sources = BTreeMap::new();
        for (name, file) in &self.layout.sources {
            let (source, findings) = compile_source(name, *file);
            self.findings.extend(findings);
            if let Some(source) = source {
                self.schemas.insert(name.clone(), SchemaRef::clone(&source.schema));
                sources.insert(name.clone(), source);
            }
        }
        sources
    }

    fn models(&mut self, functions: &dyn FunctionRegistry, params: &BTreeMap<String, ParamType>) -> Vec<Model> {
        let mut drafts: BTreeMap<TableName, Draft<'l>> = BTreeMap::new();
        let audits: Vec<&str> = self.layout.audits.keys().copied().collect();
        for (name, file) in &self.layout.models {
            let (draft, findings) = read_model(name, *file, &audits);
            self.findings.extend(findings);
            if let Some(draft) = draft {
                drafts.insert(name.clone(), draft);
            }
        }
        let reads: Reads =
            drafts.iter().map(|(name, draft)| (name.clone(), draft.reads.keys().cloned().collect())).collect();
        let Order { ordered, cycles } = order_models(&reads);
        for cycle in &cycles {
            self.findings.extend(cycle_finding(cycle, &drafts));
        }
        let mut models = Vec::new();
        for draft in ordered.iter().filter_map(|name| drafts.get(name)) {
            let is_complete = self.check_reads(draft.file(), &draft.reads);
            let scope = Scope { tables: &self.schemas, functions, params };
            if !is_complete {
                self.findings.extend(draft.wrong_names(scope));
                continue;
            }
            let (model, findings) = draft.finish(scope);
            self.findings.extend(findings);
            if let Some(model) = model {
                self.schemas.insert(model.name.clone(), SchemaRef::clone(&model.schema));
                models.push(model);
            }
        }
        self.audits();
        let scope = CheckScope { layout: self.layout, schemas: &self.schemas, functions, params };
        for model in &mut models {
            if let Some(draft) = drafts.get(&model.name) {
                self.findings.extend(draft.add_checks(model, scope));
            }
        }
        for (stem, file) in &self.layout.audits {
            if !drafts.values().any(|draft| draft.uses_audit(stem)) {
                let warning = file.warning("unused_audit", 0..0, "no model uses this audit");
                self.findings.push(warning.with_help(format!("write audits ({stem}) in the header of a model")));
            }
        }
        // Of models for which there is no order just the tables that they name can be judged.
        let ordered: BTreeSet<&TableName> = ordered.iter().collect();
        for (_, draft) in drafts.iter().filter(|(name, _)| !ordered.contains(name)) {
            self.check_reads(draft.file(), &draft.reads);
            self.findings.extend(draft.invalid_tables());
        }
        models
    }

    /// Reads the job's own audits, whether a model uses them or not.
    fn audits(&mut self) {
        for (stem, file) in &self.layout.audits {
            if built_in_audits().any(|known| known == *stem) {
                let error = file.error("duplicate_name", 0..0, format!("`{stem}` is the name of a built-in audit"));
                self.findings.push(error.with_help("rename the file"));
            } else if let Err(findings) = parse_audit(*file) {
                self.findings.extend(findings);
            }
        }
    }

    fn analyses(&mut self, functions: &dyn FunctionRegistry, params: &BTreeMap<String, ParamType>) -> Vec<Analysis> {
        let mut analyses = Vec::new();
        for (name, file) in &self.layout.analyses {
            match self.analysis(name, *file, functions, params) {
                Ok(analysis) => analyses.extend(analysis),
                Err(findings) => self.findings.extend(findings),
            }
        }
        analyses
    }

    /// Tests are looked up in the tables: they are read if the tables have no errors.
    fn tests(&mut self, scope: TestScope<'_>) -> Vec<UnitTest> {
        let mut tests = Vec::new();
        if self.findings.iter().any(|finding| finding.severity == Severity::Error) {
            return tests;
        }
        for file in &self.layout.tests {
            let (found, findings) = read_tests(*file, scope);
            self.findings.extend(findings);
            tests.extend(found);
        }
        tests
    }

    /// Gives `None` if the analysis reads a table that has an error.
    fn analysis(
        &mut self,
        name: &str,
        file: FileText<'_>,
        functions: &dyn FunctionRegistry,
        params: &BTreeMap<String, ParamType>,
    ) -> Result<Option<Analysis>, Vec<Diagnostic>> {
        let range = text_range(file.text);
        let tokens = lex(file, range.clone()).map_err(|finding| vec![finding])?;
        let first = tokens.iter().position(|token| !token.is_blank());
        if let Some(header) = first.and_then(|first| tokens.get(first)).filter(|token| token.is_word("MODEL")) {
            let error = file.error("syntax", header.span.clone(), "an analysis has no MODEL header");
            return Err(vec![error.with_help("leave the header out, or move the file to the folder of a zone")]);
        }
        let query = parse_query(file.path, file.text, range).map_err(|failed| failed.0)?;
        if !self.check_reads(file, &first_mentions(&query)) {
            let findings = wrong_names(&query, Scope { tables: &self.schemas, functions, params });
            self.findings.extend(findings);
            return Ok(None);
        }
        let (query, warnings) = query.resolve_ad_hoc(&self.schemas, functions, params).map_err(|failed| failed.0)?;
        self.findings.extend(warnings);
        let description = first.and_then(|first| comment_above(&tokens, first));
        Ok(Some(Analysis { name: name.to_owned(), file: file.path.to_owned(), query, description }))
    }

    /// Reports tables that the job does not have; whether all tables are there and without errors.
    fn check_reads(&mut self, file: FileText<'_>, reads: &BTreeMap<TableName, Range<usize>>) -> bool {
        let layout = self.layout;
        for (table, span) in reads {
            if !layout.sources.contains_key(table) && !layout.models.contains_key(table) {
                let error = file.error(UNKNOWN_TABLE, span.clone(), format!("there is no table `{table}`"));
                self.findings.push(error.with_help(unknown_table_help(layout, table)));
            }
        }
        reads.keys().all(|table| self.schemas.contains_key(table))
    }
}

fn unknown_table_help(layout: &Layout<'_>, table: &TableName) -> String {
    let tables = || layout.sources.keys().chain(layout.models.keys());
    let all: Vec<String> = tables().map(ToString::to_string).collect();
    if let Some(close) = closest(&table.to_string(), all.iter().map(String::as_str)) {
        return format!("did you mean `{close}`?");
    }
    let elsewhere: Vec<String> =
        tables().filter(|other| other.table() == table.table()).map(|other| format!("`{other}`")).collect();
    if elsewhere.is_empty() {
        return format!("it would be declared in the file {}/{}.sql", table.zone(), table.table());
    }
    format!("did you mean {}?", elsewhere.join(" or "))
}

fn cycle_finding(cycle: &[TableName], drafts: &BTreeMap<TableName, Draft<'_>>) -> Option<Diagnostic> {
    let first = cycle.first()?;
    let next = cycle.get(1).unwrap_or(first);
    let draft = drafts.get(first)?;
    let span = draft.reads.get(next)?.clone();
    let file = draft.file();
    if cycle.len() == 1 {
        let error = file.error("cycle", span, format!("`{first}` reads itself"));
        return Some(error.with_help("read the tables that its rows come from"));
    }
    let path: Vec<String> = cycle.iter().chain([first]).map(ToString::to_string).collect();
    let error = file.error("cycle", span, format!("models read one another in a cycle: {}", path.join(" -> ")));
    Some(error.with_label(format!("`{first}` reads `{next}` here")).with_help("take one of these reads out"))
}

#[cfg(test)]
mod fuzz;
#[cfg(test)]
mod tests;
