//! Source files as tokens: without comments, with strings as single tokens and nested brackets.
//!
//! That is enough to find paths and names, and unlike a search of the text it is not misled by comments.

use std::collections::BTreeSet;

use proc_macro2::{Delimiter, TokenStream, TokenTree};

/// The tokens of a source text.
pub(crate) fn parse(source: &str) -> Result<Vec<TokenTree>, proc_macro2::LexError> {
    // The fallback lexer reads one file after another into one table; each file starts with an empty one.
    Ok(source.parse::<TokenStream>()?.into_iter().collect())
}

/// Without items under `#[cfg(test)]`, at any depth of inline modules.
pub(crate) fn without_tests(tokens: &[TokenTree]) -> Vec<TokenTree> {
    let mut kept = Vec::new();
    let mut at = 0;
    while at < tokens.len() {
        if is_punct(tokens.get(at), '#') && is_cfg_test(tokens.get(at + 1)) {
            at = after_item(tokens, at + 2);
        } else {
            kept.push(tokens[at].clone());
            at += 1;
        }
    }
    kept
}

/// The first token after the item that begins at `at`: items end with a block or a semicolon.
fn after_item(tokens: &[TokenTree], at: usize) -> usize {
    let end = tokens[at..].iter().position(|token| {
        matches!(token, TokenTree::Group(group) if group.delimiter() == Delimiter::Brace)
            || matches!(token, TokenTree::Punct(punct) if punct.as_char() == ';')
    });
    end.map_or(tokens.len(), |end| at + end + 1)
}

fn is_cfg_test(token: Option<&TokenTree>) -> bool {
    let Some(TokenTree::Group(group)) = token else { return false };
    let text: String = group.stream().to_string().split_whitespace().collect();
    group.delimiter() == Delimiter::Bracket && text == "cfg(test)"
}

/// Every identifier, also those of paths in string literals: `#[serde(with = "chrono::serde::...")]` names a crate there.
pub(crate) fn identifiers(tokens: &[TokenTree]) -> BTreeSet<String> {
    let mut found = BTreeSet::new();
    collect_identifiers(tokens.iter().cloned(), &mut found);
    found
}

fn collect_identifiers(tokens: impl Iterator<Item = TokenTree>, found: &mut BTreeSet<String>) {
    // The text of `#[doc = "..."]`, which is what documentation comments become, names things without using them.
    let mut documentation = false;
    for token in tokens {
        match token {
            TokenTree::Ident(ident) => {
                documentation = ident == "doc";
                found.insert(ident.to_string().trim_start_matches("r#").to_owned());
            }
            TokenTree::Group(group) => collect_identifiers(group.stream().into_iter(), found),
            TokenTree::Literal(literal) if !documentation => {
                let text = literal.to_string();
                if text.contains("::") && !text.contains(' ') {
                    found.extend(text.trim_matches('"').split("::").map(str::to_owned));
                }
            }
            TokenTree::Literal(_) | TokenTree::Punct(_) => {}
        }
    }
}

/// A path as written, with `*` as the last part of a glob and the name that it is imported under.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Written {
    pub(crate) parts: Vec<String>,
    pub(crate) alias: Option<String>,
}

impl Written {
    /// The name that a `use` of this path brings into scope.
    pub(crate) fn name(&self) -> &str {
        self.alias.as_deref().unwrap_or_else(|| self.parts.last().map_or("", String::as_str))
    }
}

/// Every path with at least two parts, with lists in braces expanded.
pub(crate) fn paths(tokens: &[TokenTree]) -> Vec<Written> {
    let mut found = Vec::new();
    collect_paths(tokens, &mut found);
    found
}

fn collect_paths(tokens: &[TokenTree], found: &mut Vec<Written>) {
    let mut at = 0;
    while at < tokens.len() {
        match &tokens[at] {
            TokenTree::Ident(_) if is_double_colon(tokens, at + 1) => at = path(tokens, at, &[], found),
            TokenTree::Group(group) => {
                collect_paths(&children(group), found);
                at += 1;
            }
            _ => at += 1,
        }
    }
}

/// The paths of the `use` items of a file, whatever they start with.
pub(crate) fn imports(tokens: &[TokenTree]) -> Vec<Written> {
    let mut found = Vec::new();
    let uses =
        tokens.iter().enumerate().filter(|(_, token)| matches!(token, TokenTree::Ident(ident) if ident == "use"));
    for (at, _) in uses {
        path(tokens, at + 1, &[], &mut found);
    }
    found
}

/// Reads the path at `at` behind `prefix`; returns where it ends.
fn path(tokens: &[TokenTree], mut at: usize, prefix: &[String], found: &mut Vec<Written>) -> usize {
    let mut parts = prefix.to_vec();
    loop {
        match tokens.get(at) {
            Some(TokenTree::Ident(ident)) => parts.push(ident.to_string().trim_start_matches("r#").to_owned()),
            Some(TokenTree::Punct(punct)) if punct.as_char() == '*' => parts.push("*".to_owned()),
            Some(TokenTree::Group(group)) if group.delimiter() == Delimiter::Brace => {
                for item in children(group).split(|token| is_punct(Some(token), ',')).filter(|item| !item.is_empty()) {
                    path(item, 0, &parts, found);
                }
                return at + 1;
            }
            _ => break,
        }
        at += 1;
        if !is_double_colon(tokens, at) {
            break;
        }
        at += 2;
    }
    // `use a::{self}` means `use a`.
    if parts.len() > 1 && parts.last().is_some_and(|part| part == "self") {
        parts.pop();
    }
    let alias = match (tokens.get(at), tokens.get(at + 1)) {
        (Some(TokenTree::Ident(keyword)), Some(TokenTree::Ident(alias))) if keyword == "as" => Some(alias.to_string()),
        _ => None,
    };
    found.push(Written { parts, alias });
    at
}

/// The tokens inside brackets.
pub(crate) fn children(group: &proc_macro2::Group) -> Vec<TokenTree> {
    group.stream().into_iter().collect()
}

/// Whether the token at this place is this character.
pub(crate) fn is_punct(token: Option<&TokenTree>, character: char) -> bool {
    matches!(token, Some(TokenTree::Punct(punct)) if punct.as_char() == character)
}

fn is_double_colon(tokens: &[TokenTree], at: usize) -> bool {
    is_punct(tokens.get(at), ':') && is_punct(tokens.get(at + 1), ':')
}

#[test]
fn lists_are_written_out_and_comments_and_tests_are_left_out() {
    let source = "// use crate::comment;
        use crate::{a::B, c::{self, d as e}};
        #[cfg(test)]
        mod tests { use super::*; }
        /// crate::documentation
        fn f() { let x = \"crate::text\"; g!(crate::h::i()); }
        #[serde(with = \"named::here\")]
        struct S;";
    let tokens = without_tests(&parse(source).unwrap());
    let shown: Vec<_> = paths(&tokens).iter().map(|path| path.parts.join("::")).collect();
    assert_eq!(shown, ["crate::a::B", "crate::c", "crate::c::d", "crate::h::i"]);
    assert_eq!(imports(&tokens).iter().map(Written::name).collect::<Vec<_>>(), ["B", "c", "e"]);
    let names = identifiers(&tokens);
    assert!(names.contains("named") && names.contains("x"), "{names:?}");
    assert!(!names.contains("documentation") && !names.contains("comment"), "{names:?}");
}
