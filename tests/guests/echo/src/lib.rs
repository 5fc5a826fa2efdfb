//! Gives back values of every WIT type: what the tests of conversion between JSON and component
//! values drive.

mod bindings {
    wit_bindgen::generate!({ world: "echo", path: "wit" });
}

use bindings::exports::test::echo::values::{Colour, Figure, Guest as Values, Permissions, Shape};

struct Echo;

impl bindings::Guest for Echo {
    fn shout(text: String) -> String {
        text.to_uppercase()
    }
}

/// Functions that give back what they got.
macro_rules! echo {
    ($($name:ident: $type:ty,)*) => {
        $(fn $name(value: $type) -> $type {
            value
        })*
    };
}

impl Values for Echo {
    echo! {
        truth: bool,
        unsigned8: u8,
        unsigned16: u16,
        unsigned32: u32,
        unsigned64: u64,
        signed8: i8,
        signed16: i16,
        signed32: i32,
        signed64: i64,
        float32: f32,
        float64: f64,
        character: char,
        text: String,
        bytes: Vec<u8>,
        texts: Vec<String>,
        matrix: Vec<Vec<u32>>,
        structure: Shape,
        pair: (String, u32),
        choice: Figure,
        enumeration: Colour,
        set: Permissions,
        maybe: Option<String>,
        maybe_maybe: Option<Option<u32>>,
        outcome: Vec<Result<u32, String>>,
        attempt: Result<u32, String>,
    }

    fn bare_attempt(fail: bool) -> Result<(), ()> {
        if fail { Err(()) } else { Ok(()) }
    }

    fn structured_failure(value: Shape) -> Result<u32, Shape> {
        Err(value)
    }

    fn several(first: String, second: Option<u32>, third: Vec<bool>) -> String {
        format!("{first} {second:?} {third:?}")
    }

    fn nothing() {}

    fn constant() -> u32 {
        42
    }

    fn long_text(characters: u32) -> String {
        "x".repeat(characters as usize)
    }

    fn long_bytes(count: u32) -> Vec<u8> {
        vec![7; count as usize]
    }
}

bindings::export!(Echo with_types_in bindings);
