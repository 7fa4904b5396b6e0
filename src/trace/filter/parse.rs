//! Text to filters.

use super::{Expression, FIELDS, Field, FilterError, MAX_LEN, Operator, Test, Type, chunk_names};
use std::net::{IpAddr, SocketAddr};

/// Parentheses and negations inside of each other.
const MAX_DEPTH: usize = 64;

#[derive(Debug, Clone, PartialEq)]
enum Token {
    Word(String),
    Quoted(String),
    Operator(Operator),
    And,
    Or,
    Not,
    Open,
    Close,
}

struct Parser<'a> {
    text: &'a str,
    /// Tokens with the byte at which they begin.
    tokens: Vec<(usize, Token)>,
    at: usize,
    depth: usize,
}

pub(super) fn parse(text: &str) -> Result<Expression, FilterError> {
    let mut parser = Parser { text, tokens: Vec::new(), at: 0, depth: 0 };
    if text.len() > MAX_LEN {
        let text = &text[..text.floor_char_boundary(60)];
        return Err(Parser { text, ..parser }.error(0, "the filter is too long".into()));
    }
    parser.lex()?;
    let expression = parser.any()?;
    match parser.next() {
        None => Ok(expression),
        Some((at, Token::Close)) => Err(parser.error(at, "this was not opened".into())),
        Some((at, _)) => Err(parser.error(at, "expected && or ||".into())),
    }
}

impl Parser<'_> {
    fn error(&self, byte: usize, message: String) -> FilterError {
        let column = self.text.get(..byte).map_or(0, |before| before.chars().count());
        FilterError { message, text: self.text.to_owned(), column }
    }

    fn lex(&mut self) -> Result<(), FilterError> {
        const SYMBOLS: [(&str, Token); 12] = [
            ("&&", Token::And),
            ("||", Token::Or),
            ("==", Token::Operator(Operator::Equal)),
            ("!=", Token::Operator(Operator::NotEqual)),
            ("<=", Token::Operator(Operator::LessOrEqual)),
            (">=", Token::Operator(Operator::GreaterOrEqual)),
            ("<", Token::Operator(Operator::Less)),
            (">", Token::Operator(Operator::Greater)),
            ("!", Token::Not),
            ("(", Token::Open),
            (")", Token::Close),
            ("=", Token::Operator(Operator::Equal)),
        ];
        let mut at = 0;
        while let Some(rest) = self.text.get(at..).filter(|rest| !rest.is_empty()) {
            if let Some(space) = rest.chars().next().filter(|c| c.is_whitespace()) {
                at += space.len_utf8();
                continue;
            }
            let symbol = SYMBOLS.iter().find(|(symbol, _)| rest.starts_with(symbol));
            if let Some((symbol, token)) = symbol {
                self.tokens.push((at, token.clone()));
                at += symbol.len();
                continue;
            }
            if let Some(quoted) = rest.strip_prefix('"') {
                let Some(end) = quoted.find('"') else {
                    return Err(self.error(at, "this quotation does not end".into()));
                };
                self.tokens.push((at, Token::Quoted(quoted[..end].to_owned())));
                at += end + 2;
                continue;
            }
            let end = rest.find(|c: char| c.is_whitespace() || "()!=<>&|\"".contains(c));
            let word = &rest[..end.unwrap_or(rest.len())];
            if word.is_empty() {
                let symbol = rest.chars().next().unwrap_or_default();
                return Err(self.error(at, format!("{symbol} alone means nothing here")));
            }
            let token = match word {
                "and" => Token::And,
                "or" => Token::Or,
                "not" => Token::Not,
                word => Token::Word(word.to_owned()),
            };
            self.tokens.push((at, token));
            at += word.len();
        }
        Ok(())
    }

    fn next(&mut self) -> Option<(usize, Token)> {
        let token = self.tokens.get(self.at).cloned();
        self.at += usize::from(token.is_some());
        token
    }

    fn skip(&mut self, token: &Token) -> bool {
        let is_next = self.tokens.get(self.at).is_some_and(|(_, next)| next == token);
        self.at += usize::from(is_next);
        is_next
    }

    fn any(&mut self) -> Result<Expression, FilterError> {
        let mut parts = vec![self.all()?];
        while self.skip(&Token::Or) {
            parts.push(self.all()?);
        }
        Ok(if parts.len() == 1 { parts.remove(0) } else { Expression::Any(parts) })
    }

    fn all(&mut self) -> Result<Expression, FilterError> {
        let mut parts = vec![self.factor()?];
        while self.skip(&Token::And) {
            parts.push(self.factor()?);
        }
        Ok(if parts.len() == 1 { parts.remove(0) } else { Expression::All(parts) })
    }

    fn factor(&mut self) -> Result<Expression, FilterError> {
        let Some((at, token)) = self.next() else {
            return Err(self.error(self.text.len(), "expected a field, ! or (".into()));
        };
        self.depth += 1;
        if self.depth > MAX_DEPTH {
            return Err(self.error(at, "too many parentheses".into()));
        }
        let expression = match token {
            Token::Not => Expression::Not(Box::new(self.factor()?)),
            Token::Open => {
                let inner = self.any()?;
                if !self.skip(&Token::Close) {
                    return Err(self.error(at, "this is not closed".into()));
                }
                inner
            }
            Token::Word(name) => Expression::Test(self.test(at, &name)?),
            _ => return Err(self.error(at, "expected a field, ! or (".into())),
        };
        self.depth -= 1;
        Ok(expression)
    }

    fn test(&mut self, at: usize, name: &str) -> Result<Test, FilterError> {
        let known = FIELDS.iter().find(|(field, ..)| *field == name);
        let Some(&(_, field, kind, _)) = known else {
            let names: Vec<_> = FIELDS.iter().map(|(name, ..)| *name).collect();
            let names = names.join(", ");
            return Err(self.error(at, format!("there is no field {name}, but {names}")));
        };
        let Some(&(operator_at, Token::Operator(operator))) = self.tokens.get(self.at) else {
            return Ok(Test::Has(field));
        };
        self.at += 1;
        let (value_at, value) = match self.next() {
            Some((at, Token::Word(word) | Token::Quoted(word))) => (at, word),
            Some((at, _)) => return Err(self.error(at, format!("expected a value of {name}"))),
            None => {
                let message = format!("expected a value of {name}");
                return Err(self.error(self.text.len(), message));
            }
        };
        let has_order = kind == Type::Number;
        if !has_order && !matches!(operator, Operator::Equal | Operator::NotEqual) {
            let message = format!("{name} has no order: only == and !=, not {operator}");
            return Err(self.error(operator_at, message));
        }
        value_test(field, kind, operator, &value)
            .ok_or_else(|| self.error(value_at, expected(name, kind)))
    }
}

fn expected(name: &str, kind: Type) -> String {
    match kind {
        Type::Number => format!("{name} is a number"),
        Type::Address => format!("{name} is an IP address, with a port or without"),
        Type::Text => format!("{name} has no such value"),
        Type::Chunk => {
            let names: Vec<_> = chunk_names().map(|layout| layout.key).collect();
            format!("there is no such chunk, but {}, or a number as 0x30", names.join(", "))
        }
    }
}

fn value_test(field: Field, kind: Type, operator: Operator, value: &str) -> Option<Test> {
    Some(match kind {
        Type::Number => Test::Number(field, operator, number(value)?),
        Type::Text => {
            let text = value.to_ascii_lowercase().replace(' ', "");
            let kinds = ["startup", "initiator", "responder", "undecoded"];
            if field == Field::Kind && !kinds.contains(&text.as_str()) {
                return None;
            }
            Test::Text(field, operator, text)
        }
        Type::Chunk => {
            let named = chunk_names().find(|layout| layout.key.eq_ignore_ascii_case(value));
            let code = match named {
                Some(layout) => u8::try_from(layout.code).ok()?,
                None => u8::from_str_radix(value.strip_prefix("0x")?, 16).ok()?,
            };
            Test::Chunk(operator, code)
        }
        Type::Address => {
            let bare = value.strip_prefix('[').and_then(|v| v.strip_suffix(']')).unwrap_or(value);
            match (bare.parse::<IpAddr>(), value.parse::<SocketAddr>()) {
                (Ok(ip), _) => Test::Ip(field, operator, ip),
                (_, Ok(socket)) => Test::Socket(field, operator, socket),
                _ => return None,
            }
        }
    })
}

fn number(text: &str) -> Option<f64> {
    match text.strip_prefix("0x") {
        Some(digits) => u64::from_str_radix(digits, 16).ok().map(|number| number as f64),
        None => text.parse().ok().filter(|number: &f64| number.is_finite()),
    }
}
