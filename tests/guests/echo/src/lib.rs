//! Gives back values of every WIT type: what the tests of conversion between JSON and component
//! values drive.

mod bindings {
    wit_bindgen::generate!({ world: "echo", path: "wit" });
}

use bindings::exports::test::echo::values::{
    Colour, Figure, Guest as Values, MaybeFigure, Nest, Outcomes, Permissions, Point, Shape, Switches,
};

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
        characters: Vec<char>,
        pairs: Vec<(String, u64)>,
        gaps: Vec<Option<String>>,
        many_flags: Switches,
        every_outcome: Outcomes,
        maybe_choice: MaybeFigure,
        nested: Nest,
        attempt: Result<u32, String>,
        attempt_ok: Result<i64, ()>,
        attempt_err: Result<(), String>,
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

    #[expect(clippy::many_single_char_names, reason = "seventeen arguments have no better names")]
    fn seventeen(
        a: u8,
        b: i8,
        c: u16,
        d: i16,
        e: u32,
        f: i32,
        g: u64,
        h: i64,
        i: f32,
        j: f64,
        k: bool,
        l: char,
        m: String,
        n: Vec<u8>,
        o: Colour,
        p: Permissions,
        q: Option<Point>,
    ) -> String {
        let colour = match o {
            Colour::Red => "red",
            Colour::DarkGreen => "dark-green",
            Colour::Blue => "blue",
        };
        let permissions = [
            (Permissions::READ, "read"),
            (Permissions::WRITE, "write"),
            (Permissions::EXECUTE_ALL, "execute-all"),
        ];
        let set: Vec<&str> =
            permissions.iter().filter(|(flag, _)| (p & *flag) == *flag).map(|(_, name)| *name).collect();
        let point = q.map_or("none".to_owned(), |point| format!("{},{}", point.x, point.y));
        let bytes: Vec<String> = n.iter().map(u8::to_string).collect();
        let parts = [
            a.to_string(),
            b.to_string(),
            c.to_string(),
            d.to_string(),
            e.to_string(),
            f.to_string(),
            g.to_string(),
            h.to_string(),
            i.to_string(),
            j.to_string(),
            k.to_string(),
            l.to_string(),
            m,
            bytes.join("+"),
            colour.to_owned(),
            set.join("+"),
            point,
        ];
        parts.join(" ")
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
