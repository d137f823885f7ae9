//! Aligned columns, for every table that is printed.
//!
//! Invariant: no line is wider than asked, as long as one column fits; what is cut off ends in `…`.

use unicode_width::{UnicodeWidthChar, UnicodeWidthStr};

use super::Style;

/// Columns are not cut below this while others can give.
const COLUMN_WIDTH_MIN: usize = 8;
/// Space between columns.
const GAP: &str = "  ";

/// Which side of a column its text stands on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Align {
    /// Text.
    Left,
    /// Numbers.
    Right,
}

/// A table of printable text.
#[derive(Clone, Debug, Default)]
pub(crate) struct Grid {
    headers: Vec<(String, Align)>,
    rows: Vec<Vec<String>>,
}

impl Grid {
    /// A table without rows.
    pub(crate) fn new(headers: impl IntoIterator<Item = (impl Into<String>, Align)>) -> Self {
        let headers = headers.into_iter().map(|(text, align)| (text.into(), align)).collect();
        Self { headers, rows: Vec::new() }
    }

    /// Adds a row; cells that it lacks are empty.
    pub(crate) fn push(&mut self, row: Vec<String>) {
        self.rows.push(row);
    }

    /// Number of rows.
    pub(crate) fn len(&self) -> usize {
        self.rows.len()
    }

    /// Renders header, rule and rows in at most `width` columns, and tells how many columns had no room at all.
    pub(crate) fn render(&self, width: usize, style: Style) -> (String, usize) {
        let widths = fit(self.natural_widths(), width);
        let shown = widths.len();
        let mut text = String::new();
        let header: Vec<&str> = self.headers.iter().map(|(text, _)| text.as_str()).collect();
        text.push_str(&style.bold(&self.line(&header, &widths)));
        text.push('\n');
        let rule: Vec<String> = widths.iter().map(|width| "─".repeat(*width)).collect();
        text.push_str(&style.dim(&rule.join(GAP)));
        text.push('\n');
        for row in &self.rows {
            let cells: Vec<&str> = row.iter().map(String::as_str).collect();
            text.push_str(&self.line(&cells, &widths));
            text.push('\n');
        }
        (text, self.headers.len() - shown)
    }

    fn natural_widths(&self) -> Vec<usize> {
        let column = |(index, (header, _)): (usize, &(String, Align))| {
            let cells = self.rows.iter().filter_map(|row| row.get(index)).map(|cell| cell.width());
            cells.max().unwrap_or(0).max(header.width()).max(1)
        };
        self.headers.iter().enumerate().map(column).collect()
    }

    fn line(&self, cells: &[&str], widths: &[usize]) -> String {
        let mut line = String::new();
        for (index, width) in widths.iter().enumerate() {
            let cell = cut(cells.get(index).copied().unwrap_or_default(), *width);
            let padding = " ".repeat(width.saturating_sub(cell.width()));
            let align = self.headers.get(index).map_or(Align::Left, |(_, align)| *align);
            if index > 0 {
                line.push_str(GAP);
            }
            match align {
                Align::Left => line.push_str(&format!("{cell}{padding}")),
                Align::Right => line.push_str(&format!("{padding}{cell}")),
            }
        }
        line.truncate(line.trim_end().len());
        line
    }
}

/// Narrows the widest columns until all fit; drops columns from the right if they cannot.
fn fit(mut widths: Vec<usize>, total: usize) -> Vec<usize> {
    let needed = |widths: &[usize]| widths.iter().sum::<usize>() + GAP.len() * widths.len().saturating_sub(1);
    loop {
        let excess = needed(&widths).saturating_sub(total);
        if excess == 0 {
            return widths;
        }
        let widest = widths.iter().copied().max().unwrap_or(0);
        if widest > COLUMN_WIDTH_MIN {
            // Down to the next widest, so that narrow columns stay whole.
            let next = widths.iter().copied().filter(|width| *width < widest).max().unwrap_or(0);
            let target = next.max(widest.saturating_sub(excess)).max(COLUMN_WIDTH_MIN).min(widest - 1);
            if let Some(width) = widths.iter_mut().rev().find(|width| **width == widest) {
                *width = target;
            }
        } else if widths.len() > 1 {
            widths.pop();
        } else {
            return widths;
        }
    }
}

/// Cuts text to a width in columns.
pub(crate) fn cut(text: &str, width: usize) -> String {
    if text.width() <= width {
        return text.to_owned();
    }
    let mut kept = String::new();
    let mut used = 1;
    for character in text.chars() {
        used += character.width().unwrap_or(0);
        if used > width {
            break;
        }
        kept.push(character);
    }
    kept.push('…');
    kept
}

#[cfg(test)]
mod tests {
    use super::*;

    fn grid() -> Grid {
        let mut grid = Grid::new([("name", Align::Left), ("rows", Align::Right), ("what it is", Align::Left)]);
        grid.push(vec!["songs".into(), "71".into(), "a long description of the table".into()]);
        grid.push(vec!["日本".into(), "6,820".into(), "short".into()]);
        grid
    }

    #[test]
    fn columns_are_aligned_by_their_width_on_the_screen() {
        let (text, dropped) = grid().render(80, Style::default());
        assert_eq!(dropped, 0);
        insta::assert_snapshot!(text, @r"
        name    rows  what it is
        ─────  ─────  ───────────────────────────────
        songs     71  a long description of the table
        日本   6,820  short
        ");
    }

    #[test]
    fn the_widest_column_gives_first() {
        let (text, dropped) = grid().render(30, Style::default());
        assert_eq!(dropped, 0);
        insta::assert_snapshot!(text, @r"
        name    rows  what it is
        ─────  ─────  ────────────────
        songs     71  a long descript…
        日本   6,820  short
        ");
    }

    #[test]
    fn no_line_is_wider_than_the_terminal() {
        for width in 1..60 {
            let (text, _) = grid().render(width, Style::default());
            let widest = text.lines().map(UnicodeWidthStr::width).max().unwrap();
            assert!(widest <= width.max(COLUMN_WIDTH_MIN), "{width}: {widest}");
        }
    }

    #[test]
    fn columns_without_room_are_counted() {
        let (_, dropped) = grid().render(14, Style::default());
        assert_eq!(dropped, 1);
    }
}
