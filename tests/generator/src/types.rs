//! Random signatures of tools, as text, and what they are in core WebAssembly by the canonical ABI.

use std::fmt::Write as _;

use crate::random::Random;

/// Parameters beyond this number are passed in memory, by the canonical ABI.
const FLAT_PARAMS_MAX: usize = 16;
/// Results beyond this number are returned in memory.
const FLAT_RESULTS_MAX: usize = 1;
const DEPTH_MAX: u32 = 3;

/// A type of core WebAssembly.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Core {
    I32,
    I64,
    F32,
    F64,
}

impl Core {
    pub(crate) fn name(self) -> &'static str {
        match self {
            Core::I32 => "i32",
            Core::I64 => "i64",
            Core::F32 => "f32",
            Core::F64 => "f64",
        }
    }

    /// What can hold either, by the canonical ABI.
    fn join(self, other: Core) -> Core {
        match (self, other) {
            (one, other) if one == other => one,
            (Core::I32 | Core::F32, Core::I32 | Core::F32) => Core::I32,
            _ => Core::I64,
        }
    }
}

/// A function's type.
#[derive(Debug)]
pub(crate) struct Signature {
    /// In a component, as text: `(param "a" string) (result u32)`.
    pub(crate) text: String,
    /// In the module.
    pub(crate) params: Vec<Core>,
    pub(crate) results: Vec<Core>,
}

/// The named types of one component, so far.
#[derive(Debug, Default)]
pub(crate) struct Types {
    declarations: String,
    count: usize,
}

impl Types {
    /// Their declarations, in order.
    pub(crate) fn declarations(&self) -> &str {
        &self.declarations
    }

    /// A new signature.
    pub(crate) fn signature(&mut self, random: &mut Random) -> Signature {
        let (mut text, mut params) = (String::new(), Vec::new());
        for index in 0..random.below(4) {
            let (ty, flat) = self.value(random, 0);
            let _ = write!(text, "(param \"p{index}\" {ty}) ");
            params.extend(flat);
        }
        if params.len() > FLAT_PARAMS_MAX {
            params = vec![Core::I32];
        }
        let mut results = Vec::new();
        if random.below(4) > 0 {
            let (ty, flat) = self.value(random, 0);
            let _ = write!(text, "(result {ty})");
            results = if flat.len() > FLAT_RESULTS_MAX { vec![Core::I32] } else { flat };
        }
        Signature { text, params, results }
    }

    fn value(&mut self, random: &mut Random, depth: u32) -> (String, Vec<Core>) {
        let kinds = if depth < DEPTH_MAX { 24 } else { 13 };
        let plain = |name: &str, core: &[Core]| (name.to_owned(), core.to_vec());
        match random.below(kinds) {
            0 => plain("bool", &[Core::I32]),
            1 => plain("u8", &[Core::I32]),
            2 => plain("s8", &[Core::I32]),
            3 => plain("u16", &[Core::I32]),
            4 => plain("s16", &[Core::I32]),
            5 => plain("u32", &[Core::I32]),
            6 => plain("s32", &[Core::I32]),
            7 => plain("u64", &[Core::I64]),
            8 => plain("s64", &[Core::I64]),
            9 => plain("f32", &[Core::F32]),
            10 => plain("f64", &[Core::F64]),
            11 => plain("char", &[Core::I32]),
            12 | 13 => plain("string", &[Core::I32, Core::I32]),
            14 | 15 => {
                let (item, _) = self.value(random, depth + 1);
                (format!("(list {item})"), vec![Core::I32, Core::I32])
            }
            16 => {
                let items: Vec<_> = (0..=random.below(3)).map(|_| self.value(random, depth + 1)).collect();
                let names: Vec<&str> = items.iter().map(|(name, _)| name.as_str()).collect();
                (
                    format!("(tuple {})", names.join(" ")),
                    items.iter().flat_map(|(_, flat)| flat.clone()).collect(),
                )
            }
            17 => {
                let (inner, flat) = self.value(random, depth + 1);
                (format!("(option {inner})"), tagged(&[flat]))
            }
            18 => {
                let (ok, error) = (self.value(random, depth + 1), self.value(random, depth + 1));
                (format!("(result {} (error {}))", ok.0, error.0), tagged(&[ok.1, error.1]))
            }
            19 | 20 => self.record(random, depth),
            21 => self.variant(random, depth),
            22 => {
                let names: Vec<String> = (0..=random.below(5)).map(|at| format!("\"e{at}\"")).collect();
                (self.named(&format!("(enum {})", names.join(" "))), vec![Core::I32])
            }
            _ => {
                let names: Vec<String> = (0..=random.below(20)).map(|at| format!("\"f{at}\"")).collect();
                (self.named(&format!("(flags {})", names.join(" "))), vec![Core::I32])
            }
        }
    }

    fn record(&mut self, random: &mut Random, depth: u32) -> (String, Vec<Core>) {
        let (mut text, mut flat) = ("(record".to_owned(), Vec::new());
        for index in 0..=random.below(4) {
            let (ty, core) = self.value(random, depth + 1);
            let _ = write!(text, " (field \"r{index}\" {ty})");
            flat.extend(core);
        }
        (self.named(&(text + ")")), flat)
    }

    fn variant(&mut self, random: &mut Random, depth: u32) -> (String, Vec<Core>) {
        let (mut text, mut cases) = ("(variant".to_owned(), Vec::new());
        for index in 0..=random.below(4) {
            let (ty, core) = match random.below(3) {
                0 => (String::new(), Vec::new()),
                _ => self.value(random, depth + 1),
            };
            let _ = write!(text, " (case \"c{index}\" {ty})");
            cases.push(core);
        }
        (self.named(&(text + ")")), tagged(&cases))
    }

    /// Such types must be exported before an exported function may have them.
    fn named(&mut self, ty: &str) -> String {
        let name = format!("n{}", self.count);
        self.count += 1;
        let _ =
            writeln!(self.declarations, "(type ${name}' {ty}) (export ${name} \"{name}\" (type ${name}'))");
        format!("${name}")
    }
}

/// A number for the case, then what can hold the payload of any.
fn tagged(cases: &[Vec<Core>]) -> Vec<Core> {
    let mut flat: Vec<Core> = Vec::new();
    for case in cases {
        for (at, core) in case.iter().enumerate() {
            match flat.get_mut(at) {
                Some(held) => *held = held.join(*core),
                None => flat.push(*core),
            }
        }
    }
    flat.insert(0, Core::I32);
    flat
}
