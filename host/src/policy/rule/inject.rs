//! What the host puts into a tool's requests, so that the tool never has it.

use std::borrow::Cow;
use std::fmt;
use std::str::FromStr;

use http::header::{self, HeaderName};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use zeroize::Zeroizing;

use crate::egress::is_forbidden_field;
use crate::ids::{SecretName, text_schema};

/// The most bytes of a template.
const TEMPLATE_BYTES_MAX: usize = 1_000;
/// The most bytes of a header's name, a query's key or a user.
const NAME_BYTES_MAX: usize = 256;

/// A text with secrets in it, such as `Bearer ${secret:github}`. At least one; there is no other `${`.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct Template(Vec<Piece>);

text_schema!(Template, "text with places for secrets: ${secret:NAME}", "^[\\s\\S]*$");

#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Piece {
    Text(String),
    Secret(SecretName),
}

/// Why a text is no template. The message says what to write.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum TemplateError {
    /// A `${` that is not `${secret:NAME}`.
    #[error("{0:?} is not `${{secret:NAME}}`, and nothing else may begin with `${{`")]
    Malformed(String),
    /// The name in it is none.
    #[error(transparent)]
    Name(#[from] crate::ids::IdError),
    /// No secret at all.
    #[error("it has no secret in it: write `${{secret:NAME}}`")]
    NoSecret,
    /// Too long, or with control characters.
    #[error("write at most 1000 bytes without control characters")]
    Text,
}

impl FromStr for Template {
    type Err = TemplateError;

    fn from_str(text: &str) -> Result<Self, TemplateError> {
        if text.len() > TEMPLATE_BYTES_MAX || text.chars().any(char::is_control) {
            return Err(TemplateError::Text);
        }
        let mut pieces = Vec::new();
        let mut rest = text;
        while let Some(at) = rest.find("${") {
            let (before, placeholder) = rest.split_at(at);
            let malformed = || TemplateError::Malformed(placeholder.chars().take(80).collect());
            let inside = placeholder.strip_prefix("${secret:").ok_or_else(malformed)?;
            let (name, after) = inside.split_once('}').ok_or_else(malformed)?;
            if !before.is_empty() {
                pieces.push(Piece::Text(before.to_owned()));
            }
            pieces.push(Piece::Secret(name.parse()?));
            rest = after;
        }
        if pieces.is_empty() {
            return Err(TemplateError::NoSecret);
        }
        if !rest.is_empty() {
            pieces.push(Piece::Text(rest.to_owned()));
        }
        Ok(Self(pieces))
    }
}

impl TryFrom<String> for Template {
    type Error = TemplateError;

    fn try_from(text: String) -> Result<Self, TemplateError> {
        text.parse()
    }
}

impl From<Template> for String {
    fn from(template: Template) -> Self {
        template.to_string()
    }
}

impl fmt::Display for Template {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.iter().try_for_each(|piece| match piece {
            Piece::Text(text) => f.write_str(text),
            Piece::Secret(name) => write!(f, "${{secret:{name}}}"),
        })
    }
}

impl Template {
    /// The secrets in it, in its order.
    pub fn secrets(&self) -> impl Iterator<Item = &SecretName> {
        self.0.iter().filter_map(|piece| match piece {
            Piece::Text(_) => None,
            Piece::Secret(name) => Some(name),
        })
    }

    /// The text with the values in their places.
    ///
    /// # Errors
    /// The first secret that has no value now.
    pub fn fill<'v>(
        &self,
        value: impl Fn(&SecretName) -> Option<&'v [u8]>,
    ) -> Result<Zeroizing<Vec<u8>>, SecretName> {
        let mut filled = Zeroizing::new(Vec::new());
        for piece in &self.0 {
            match piece {
                Piece::Text(text) => filled.extend_from_slice(text.as_bytes()),
                Piece::Secret(name) => filled.extend_from_slice(value(name).ok_or_else(|| name.clone())?),
            }
        }
        Ok(filled)
    }
}

/// One thing that is put into each request of a rule, in place of what the tool wrote there.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize, JsonSchema)]
#[serde(tag = "into", rename_all = "snake_case")]
pub enum Injection {
    /// A header.
    Header {
        /// Its name, in lower case.
        header: InjectedHeader,
        /// Its value.
        value: Template,
    },
    /// A key of the query.
    Query {
        /// The key, decoded.
        key: QueryKey,
        /// Its value, which is percent-encoded.
        value: Template,
    },
    /// `authorization` by user and password (RFC 7617).
    Basic {
        /// The user: no `:`, no control characters.
        user: BasicUser,
        /// The password.
        password: Template,
    },
}

impl Injection {
    /// The secrets that it uses.
    pub fn secrets(&self) -> impl Iterator<Item = &SecretName> {
        self.template().secrets()
    }

    /// The text that is filled.
    pub fn template(&self) -> &Template {
        match self {
            Injection::Header { value, .. } | Injection::Query { value, .. } => value,
            Injection::Basic { password, .. } => password,
        }
    }

    /// Where it goes: no two of a rule go to the same place.
    pub fn place(&self) -> Cow<'static, str> {
        match self {
            Injection::Header { header, .. } => format!("header {header}").into(),
            Injection::Query { key, .. } => format!("query {}", key.as_str().escape_debug()).into(),
            Injection::Basic { .. } => Cow::Borrowed("header authorization"),
        }
    }
}

impl fmt::Display for Injection {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Injection::Header { value, .. } | Injection::Query { value, .. } => {
                write!(f, "{} = {:?}", self.place(), value.to_string())
            }
            Injection::Basic { user, password } => {
                write!(f, "{} = basic {:?}", self.place(), format!("{user}:{password}"))
            }
        }
    }
}

/// Declares a text that is checked when it is made.
macro_rules! checked_text {
    ($(#[$doc:meta])* $name:ident, $rule:literal, $check:expr) => {
        $(#[$doc])*
        #[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
        #[serde(try_from = "String", into = "String")]
        pub struct $name(String);

        text_schema!($name, "see the rule of the grant", "^[\\x20-\\x7E]+$");

        impl $name {
            /// The text.
            pub fn as_str(&self) -> &str {
                &self.0
            }
        }

        impl FromStr for $name {
            type Err = InjectError;

            fn from_str(text: &str) -> Result<Self, InjectError> {
                let check: fn(&str) -> Option<String> = $check;
                let text = if text.len() <= NAME_BYTES_MAX { check(text) } else { None };
                text.map(Self).ok_or(InjectError($rule))
            }
        }

        impl TryFrom<String> for $name {
            type Error = InjectError;

            fn try_from(text: String) -> Result<Self, InjectError> {
                text.parse()
            }
        }

        impl From<$name> for String {
            fn from(text: $name) -> Self {
                text.0
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str(&self.0)
            }
        }
    };
}

/// Why nothing can be injected there.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{0}")]
pub struct InjectError(&'static str);

checked_text!(
    /// The name of a header that may be injected: none that frames or routes a message, or says how its
    /// body or the answer's is encoded.
    InjectedHeader,
    "this header can't be injected: name one that the host does not set itself, such as \"authorization\"",
    |text| {
        let name: HeaderName = text.parse().ok()?;
        let is_of_the_host = is_forbidden_field(&name) || OF_THE_HOST.contains(&name);
        (!is_of_the_host).then(|| name.as_str().to_owned())
    }
);

/// Headers that say how a body is framed or encoded, or which part of one is asked for.
const OF_THE_HOST: [HeaderName; 6] = [
    header::CONTENT_LENGTH,
    header::CONTENT_ENCODING,
    header::CONTENT_TYPE,
    header::ACCEPT_ENCODING,
    header::RANGE,
    header::IF_RANGE,
];

checked_text!(
    /// A key of a query, decoded.
    QueryKey,
    "write the key alone, decoded, of 1 to 256 bytes without control characters",
    |text| (!text.is_empty() && !text.chars().any(char::is_control)).then(|| text.to_owned())
);

checked_text!(
    /// A user of basic authentication.
    BasicUser,
    "write a user of 1 to 256 bytes without `:` and control characters (RFC 7617, 2)",
    |text| {
        let is_user = !text.is_empty() && !text.contains(':') && !text.chars().any(char::is_control);
        is_user.then(|| text.to_owned())
    }
);

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_template_is_text_with_secrets_and_nothing_else() {
        for good in
            ["${secret:a}", "Bearer ${secret:github}", "${secret:a}:${secret:b}!", "$ $$ } ${secret:x}"]
        {
            let template: Template = good.parse().expect("a template");
            assert_eq!(template.to_string(), good);
        }
        for bad in [
            "",
            "Bearer x",
            "${",
            "${secret:",
            "${secret:a",
            "${secret:}",
            "${secret:A}",
            "${env:x} ${secret:a}",
            "${secret:a} ${",
            "$${secret a}",
            "${secret:a}\n",
        ] {
            assert!(bad.parse::<Template>().is_err(), "{bad}");
        }
        let template: Template = "x ${secret:a}-${secret:b}".parse().expect("a template");
        let filled = template.fill(|name| (name.as_str() == "a").then_some(&b"12"[..]));
        assert_eq!(filled.expect_err("no b").as_str(), "b");
        let filled = template.fill(|name| Some(if name.as_str() == "a" { b"12" } else { b"34" }));
        assert_eq!(&**filled.expect("both"), b"x 12-34");
    }

    #[test]
    fn headers_that_frame_or_route_are_not_injected() {
        for bad in [
            "host",
            "Host",
            "content-length",
            "transfer-encoding",
            "te",
            "connection",
            "accept-encoding",
            "range",
            "a b",
            "",
        ] {
            assert!(bad.parse::<InjectedHeader>().is_err(), "{bad}");
        }
        let header: InjectedHeader = "X-Api-Key".parse().expect("a header");
        assert_eq!(header.as_str(), "x-api-key");
        assert!("a:b".parse::<BasicUser>().is_err() && "".parse::<BasicUser>().is_err());
    }
}
