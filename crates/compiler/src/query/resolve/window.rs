//! Windows: `OVER (…)` resolved, and named windows written out where they are used, since the planner knows them in the
//! SELECT list only.

use datafusion::sql::sqlparser::ast::{
    Expr, Function, Ident, NamedWindowDefinition, NamedWindowExpr, Query, Select, SelectItem, VisitMut, VisitorMut,
    WindowFrameBound, WindowSpec, WindowType,
};
use std::ops::ControlFlow;

use super::{Resolver, View};
use crate::{sql_type::same_name, suggest::did_you_mean};

impl Resolver<'_> {
    /// Resolves what a window is made of.
    pub(super) fn window(&mut self, spec: &mut WindowSpec, view: View<'_>) {
        spec.partition_by.iter_mut().for_each(|expr| self.expr(expr, view));
        self.order_by(&mut spec.order_by, view);
        let Some(frame) = &mut spec.window_frame else { return };
        for bound in [Some(&mut frame.start_bound), frame.end_bound.as_mut()].into_iter().flatten() {
            if let WindowFrameBound::Preceding(Some(expr)) | WindowFrameBound::Following(Some(expr)) = bound {
                self.expr(expr, view);
            }
        }
    }

    /// Writes named windows out wherever a SELECT names them, and forgets their names.
    pub(super) fn write_windows_out(&mut self, select: &mut Select) {
        let mut windows: Vec<(Ident, WindowSpec)> = Vec::new();
        for NamedWindowDefinition(name, definition) in std::mem::take(&mut select.named_window) {
            if windows.iter().any(|(other, _)| same_name(&other.value, &name.value)) {
                let span = self.source.range_of_ident(&name);
                self.report(self.source.error(
                    "duplicate_window",
                    span,
                    format!("there are two windows `{}`", name.value),
                ));
            }
            let spec = match definition {
                NamedWindowExpr::NamedWindow(other) => self.named_window(&windows, &other),
                NamedWindowExpr::WindowSpec(spec) => Some(self.completed(&windows, spec)),
            };
            windows.extend(spec.map(|spec| (name, spec)));
        }
        let mut writer = WindowWriter { resolver: self, windows, depth: 0 };
        for item in &mut select.projection {
            if let SelectItem::UnnamedExpr(expr) | SelectItem::ExprWithAlias { expr, .. } = item {
                let _: ControlFlow<()> = expr.visit(&mut writer);
            }
        }
        if let Some(expr) = &mut select.qualify {
            let _: ControlFlow<()> = expr.visit(&mut writer);
        }
    }

    fn named_window(&mut self, windows: &[(Ident, WindowSpec)], name: &Ident) -> Option<WindowSpec> {
        if let Some((_, spec)) = windows.iter().find(|(other, _)| same_name(&other.value, &name.value)) {
            return Some(spec.clone());
        }
        let help = did_you_mean(&name.value, windows.iter().map(|(name, _)| name.value.as_str()));
        let span = self.source.range_of_ident(name);
        let error = self.source.error("unknown_window", span, format!("there is no window `{}`", name.value));
        self.report(error.with_help_if(help));
        None
    }

    /// `(w ORDER BY x)` takes from `w` what it does not say itself.
    fn completed(&mut self, windows: &[(Ident, WindowSpec)], mut spec: WindowSpec) -> WindowSpec {
        let Some(name) = spec.window_name.take() else { return spec };
        let Some(base) = self.named_window(windows, &name) else { return spec };
        if spec.partition_by.is_empty() {
            spec.partition_by = base.partition_by;
        }
        if spec.order_by.is_empty() {
            spec.order_by = base.order_by;
        }
        spec.window_frame = spec.window_frame.or(base.window_frame);
        spec
    }
}

struct WindowWriter<'r, 'a> {
    resolver: &'r mut Resolver<'a>,
    windows: Vec<(Ident, WindowSpec)>,
    /// How many subqueries deep; those have windows of their own.
    depth: usize,
}

impl VisitorMut for WindowWriter<'_, '_> {
    type Break = ();

    fn pre_visit_query(&mut self, _: &mut Query) -> ControlFlow<()> {
        self.depth += 1;
        ControlFlow::Continue(())
    }

    fn post_visit_query(&mut self, _: &mut Query) -> ControlFlow<()> {
        self.depth -= 1;
        ControlFlow::Continue(())
    }

    fn pre_visit_expr(&mut self, expr: &mut Expr) -> ControlFlow<()> {
        let Expr::Function(Function { over: Some(over), .. }) = expr else { return ControlFlow::Continue(()) };
        if self.depth > 0 {
            return ControlFlow::Continue(());
        }
        let spec = match over {
            WindowType::NamedWindow(name) => self.resolver.named_window(&self.windows, name),
            WindowType::WindowSpec(spec) => Some(self.resolver.completed(&self.windows, spec.clone())),
        };
        if let Some(spec) = spec {
            *over = WindowType::WindowSpec(spec);
        }
        ControlFlow::Continue(())
    }
}
