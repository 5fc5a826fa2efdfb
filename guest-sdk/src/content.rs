//! What a result is made of.

use serde_json::Value;

/// One part of a result, for tools that decide while they run what they give.
#[derive(Clone, Debug, PartialEq)]
pub enum Content {
    /// Text for the agent to read.
    Text(String),
    /// An image.
    Image(Image),
    /// A sound.
    Audio(Audio),
    /// A whole document, with its name.
    Resource(Resource),
    /// A JSON value. A result holds at most one. Prefer [`Json`], which has a schema.
    Structured(Value),
}

/// An image.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Image {
    /// The media type, such as `image/png`. The host cuts it at 100 bytes.
    pub mime_type: String,
    /// The file's bytes; not encoded.
    pub data: Vec<u8>,
}

impl Image {
    /// An image of some media type.
    pub fn new(mime_type: impl Into<String>, data: impl Into<Vec<u8>>) -> Self {
        Self { mime_type: mime_type.into(), data: data.into() }
    }

    /// A PNG file.
    pub fn png(data: impl Into<Vec<u8>>) -> Self {
        Self::new("image/png", data)
    }

    /// An SVG document. Not every model can look at one.
    pub fn svg(document: impl Into<String>) -> Self {
        Self::new("image/svg+xml", document.into())
    }
}

/// A sound.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Audio {
    /// The media type, such as `audio/wav`. The host cuts it at 100 bytes.
    pub mime_type: String,
    /// The file's bytes; not encoded.
    pub data: Vec<u8>,
}

impl Audio {
    /// A sound of some media type.
    pub fn new(mime_type: impl Into<String>, data: impl Into<Vec<u8>>) -> Self {
        Self { mime_type: mime_type.into(), data: data.into() }
    }
}

/// A document with a name of its own, which travels inside the result.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Resource {
    /// What it is, for example `note:///shopping`. The host never fetches it.
    pub uri: String,
    /// The media type, if it is known, such as `text/markdown`.
    pub mime_type: Option<String>,
    /// What it holds.
    pub body: ResourceBody,
}

/// The body of a [`Resource`].
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum ResourceBody {
    /// Text.
    Text(String),
    /// Anything else.
    Bytes(Vec<u8>),
}

impl Resource {
    /// A document that is text.
    pub fn text(uri: impl Into<String>, text: impl Into<String>) -> Self {
        Self { uri: uri.into(), mime_type: None, body: ResourceBody::Text(text.into()) }
    }

    /// A document of bytes.
    pub fn bytes(uri: impl Into<String>, bytes: impl Into<Vec<u8>>) -> Self {
        Self { uri: uri.into(), mime_type: None, body: ResourceBody::Bytes(bytes.into()) }
    }

    /// The same with its media type.
    #[must_use]
    pub fn with_mime_type(mut self, mime_type: impl Into<String>) -> Self {
        self.mime_type = Some(mime_type.into());
        self
    }
}

/// A structured result: a value that is written as JSON, with the schema of its type.
///
/// A result holds at most one. The host also gives it as text, for agents that read nothing else.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Json<T>(pub T);
