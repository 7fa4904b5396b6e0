//! Parser of filters.

use super::{Expression, FIELDS, Field, FilterError, MAX_LEN, Operator, Test, Type, chunk_names};
use crate::text::{self, Failed, Fault, expect, fail};
use nom::Parser;
use nom::branch::alt;
use nom::bytes::complete::{tag, take_till, take_till1, take_while};
use nom::character::complete::char;
use nom::combinator::{opt, peek, value, verify};
use nom::multi::separated_list1;
use nom::sequence::{delimited, preceded, terminated};
use std::net::{IpAddr, SocketAddr};

/// Parentheses and negations inside of each other.
const MAX_DEPTH: usize = 64;

type Parsed<'a, T> = text::Parsed<'a, T, String>;

pub(super) fn parse(text: &str) -> Result<Expression, FilterError> {
    if text.len() > MAX_LEN {
        let text = text[..text.floor_char_boundary(60)].to_owned();
        return Err(FilterError { message: "the filter is too long".into(), text, column: 0 });
    }
    let filter = |input| match preceded(space, |input| any(input, 0)).parse(input)? {
        ("", filter) => Ok(("", filter)),
        (rest, _) => Err(unexpected(rest)),
    };
    text::parse(text, filter, String::new()).map_err(|error| FilterError {
        message: error.problem,
        text: text.to_owned(),
        column: error.column,
    })
}

/// The error for what follows a complete part of a filter.
fn unexpected(rest: &str) -> Failed<'_, String> {
    let problem = match rest.chars().next() {
        Some(')') => "this was not opened".into(),
        Some(c @ ('&' | '|')) => format!("{c} alone means nothing here"),
        _ => "expected && or ||".into(),
    };
    fail(rest, problem)
}

fn any(input: &str, depth: usize) -> Parsed<'_, Expression> {
    let or = token(alt((tag("||"), keyword("or"))));
    let (rest, parts) = separated_list1(or, |input| all(input, depth)).parse(input)?;
    Ok((rest, join(parts, Expression::Any)))
}

fn all(input: &str, depth: usize) -> Parsed<'_, Expression> {
    let and = token(alt((tag("&&"), keyword("and"))));
    let (rest, parts) = separated_list1(and, |input| factor(input, depth)).parse(input)?;
    Ok((rest, join(parts, Expression::All)))
}

fn join(mut parts: Vec<Expression>, of: fn(Vec<Expression>) -> Expression) -> Expression {
    if parts.len() == 1 { parts.remove(0) } else { of(parts) }
}

fn factor(input: &str, depth: usize) -> Parsed<'_, Expression> {
    if depth == MAX_DEPTH {
        return Err(fail(input, "too many parentheses".into()));
    }
    let negated = |input| factor(input, depth + 1);
    let not = preceded(token(alt((tag("!"), keyword("not")))), negated)
        .map(|factor| Expression::Not(Box::new(factor)));
    let parentheses = |open| {
        let (rest, _) = token(tag("(")).parse(open)?;
        match any(rest, depth + 1)? {
            ("", _) => Err(fail(open, "this is not closed".into())),
            (rest, inner) => match token(tag(")")).parse(rest) {
                Ok((rest, _)) => Ok((rest, inner)),
                Err(_) => Err(unexpected(rest)),
            },
        }
    };
    expect(alt((not, parentheses, test)), "expected a field, ! or (").parse(input)
}

fn test(input: &str) -> Parsed<'_, Expression> {
    let (rest, name) = token(word).parse(input)?;
    let known = FIELDS.iter().find(|(field, ..)| *field == name);
    let Some(&(_, field, kind, _)) = known else {
        let names: Vec<_> = FIELDS.iter().map(|(name, ..)| *name).collect();
        let names = names.join(", ");
        return Err(fail(input, format!("there is no field {name}, but {names}")));
    };
    let (place, Some(operator)) = opt(token(operator)).parse(rest)? else {
        return Ok((rest, Expression::Test(Test::Has(field))));
    };
    if kind != Type::Number && !matches!(operator, Operator::Equal | Operator::NotEqual) {
        let message = format!("{name} has no order: only == and !=, not {operator}");
        return Err(fail(rest, message));
    }
    let value = token(alt((quoted, word)));
    let (rest, value) = expect(value, format!("expected a value of {name}")).parse(place)?;
    let test = value_test(field, kind, operator, value);
    Ok((rest, Expression::Test(test.ok_or_else(|| fail(place, expected(name, kind)))?)))
}

fn operator(input: &str) -> Parsed<'_, Operator> {
    alt((
        value(Operator::Equal, alt((tag("=="), tag("=")))),
        value(Operator::NotEqual, tag("!=")),
        value(Operator::LessOrEqual, tag("<=")),
        value(Operator::GreaterOrEqual, tag(">=")),
        value(Operator::Less, tag("<")),
        value(Operator::Greater, tag(">")),
    ))
    .parse(input)
}

fn quoted(input: &str) -> Parsed<'_, &str> {
    let quoted = delimited(char('"'), take_till(|c| c == '"'), char('"'));
    preceded(peek(char('"')), expect(quoted, "this quotation does not end")).parse(input)
}

/// A word that means something by its place.
fn word(input: &str) -> Parsed<'_, &str> {
    verify(any_word, |word: &str| !["and", "or", "not"].contains(&word)).parse(input)
}

fn keyword<'a>(
    keyword: &'static str,
) -> impl Parser<&'a str, Output = &'a str, Error = Fault<'a, String>> {
    verify(any_word, move |word: &str| word == keyword)
}

fn any_word(input: &str) -> Parsed<'_, &str> {
    take_till1(|c: char| c.is_whitespace() || "()!=<>&|\"".contains(c)).parse(input)
}

/// `parser` and the space that follows.
fn token<'a, T>(
    parser: impl Parser<&'a str, Output = T, Error = Fault<'a, String>>,
) -> impl Parser<&'a str, Output = T, Error = Fault<'a, String>> {
    terminated(parser, space)
}

fn space(input: &str) -> Parsed<'_, &str> {
    take_while(char::is_whitespace).parse(input)
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
