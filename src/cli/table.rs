//! Plain tables, and colours where a person reads.

use std::io::IsTerminal as _;

/// Rows under a header, columns padded to their widest cell; no trailing blanks.
pub fn render(header: &[&str], rows: &[Vec<String>]) -> String {
    let width = |column: usize| {
        let cells = rows
            .iter()
            .filter_map(|row| row.get(column))
            .map(|cell| cell.chars().count());
        cells.chain([header[column].len()]).max().unwrap_or(0)
    };
    let widths: Vec<usize> = (0..header.len()).map(width).collect();
    let line = |cells: Vec<&str>| {
        let padded = cells.iter().zip(&widths).map(|(cell, width)| {
            format!(
                "{cell}{}",
                " ".repeat(width.saturating_sub(cell.chars().count()))
            )
        });
        padded.collect::<Vec<_>>().join("  ").trim_end().to_owned()
    };
    let mut out = vec![line(header.to_vec())];
    out.extend(
        rows.iter()
            .map(|row| line(row.iter().map(String::as_str).collect())),
    );
    out.join("\n")
}

/// True where colours and progress are welcome on standard output.
pub fn is_for_people() -> bool {
    std::io::stdout().is_terminal() && std::env::var_os("NO_COLOR").is_none_or(|v| v.is_empty())
}

/// Green or red where colours are welcome.
pub fn mark(good: bool) -> &'static str {
    match (is_for_people(), good) {
        (true, true) => "\u{1b}[32mok\u{1b}[0m",
        (true, false) => "\u{1b}[31m--\u{1b}[0m",
        (false, true) => "ok",
        (false, false) => "--",
    }
}

/// The value, or a dash.
pub fn or_dash<T: ToString>(value: Option<T>) -> String {
    value.map_or_else(|| "-".to_owned(), |v| v.to_string())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn columns_line_up_whatever_the_letters() {
        let rows = vec![
            vec!["1".to_owned(), "Entrée".to_owned()],
            vec!["12".to_owned(), "x".to_owned()],
        ];
        assert_eq!(
            render(&["ID", "NAME"], &rows),
            "ID  NAME\n1   Entrée\n12  x"
        );
    }
}
