//! An issuer of tokens on loopback, whose keys are made here: it signs what it is told, right or wrong.

use std::io::{Read, Write};
use std::net::{TcpListener, TcpStream};
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use jiff::Timestamp;
use ring::rand::SystemRandom;
use ring::signature::{
    ECDSA_P256_SHA256_FIXED_SIGNING, EcdsaKeyPair, Ed25519KeyPair, KeyPair, RSA_PKCS1_SHA256, RsaKeyPair,
};
use serde_json::{Value, json};

/// For RS256: no library here makes RSA keys. It protects nothing.
const RSA: &[u8] = include_bytes!("issuer-rsa.pk8");

/// Whom a token is for, unless a test says otherwise.
pub(crate) const AUDIENCE: &str = "http://localhost/mcp";

/// How a token is signed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum How {
    EdDsa,
    Es256,
    Rs256,
}

/// A key of an issuer, with the name that it has there.
pub(crate) struct Key {
    pub(crate) id: String,
    how: How,
    pair: Pair,
}

enum Pair {
    Ed(Ed25519KeyPair),
    Ec(EcdsaKeyPair),
    Rsa(RsaKeyPair),
}

pub(crate) fn encoded(bytes: impl AsRef<[u8]>) -> String {
    URL_SAFE_NO_PAD.encode(bytes)
}

impl Key {
    pub(crate) fn new(id: &str, how: How) -> Self {
        let random = SystemRandom::new();
        let pair = match how {
            How::EdDsa => {
                let made = Ed25519KeyPair::generate_pkcs8(&random).expect("random numbers");
                Pair::Ed(Ed25519KeyPair::from_pkcs8(made.as_ref()).expect("a key"))
            }
            How::Es256 => {
                let how = &ECDSA_P256_SHA256_FIXED_SIGNING;
                let made = EcdsaKeyPair::generate_pkcs8(how, &random).expect("random numbers");
                Pair::Ec(EcdsaKeyPair::from_pkcs8(how, made.as_ref(), &random).expect("a key"))
            }
            How::Rs256 => Pair::Rsa(RsaKeyPair::from_pkcs8(RSA).expect("a key")),
        };
        Self { id: id.to_owned(), how, pair }
    }

    pub(crate) fn algorithm(&self) -> &'static str {
        match self.how {
            How::EdDsa => "EdDSA",
            How::Es256 => "ES256",
            How::Rs256 => "RS256",
        }
    }

    /// Its public half, as a set of keys has it.
    pub(crate) fn public(&self) -> Value {
        match &self.pair {
            Pair::Ed(pair) => {
                let x = encoded(pair.public_key());
                json!({"kty": "OKP", "crv": "Ed25519", "use": "sig", "kid": self.id, "x": x})
            }
            Pair::Ec(pair) => {
                let point = pair.public_key().as_ref();
                let (x, y) = (encoded(&point[1..33]), encoded(&point[33..]));
                json!({"kty": "EC", "crv": "P-256", "alg": "ES256", "kid": self.id, "x": x, "y": y})
            }
            Pair::Rsa(_) => {
                let (n, e) = self.modulus();
                json!({"kty": "RSA", "use": "sig", "kid": self.id, "n": encoded(n), "e": encoded(e)})
            }
        }
    }

    /// The bytes of an RSA key's public half, which are no secret.
    pub(crate) fn modulus(&self) -> (Vec<u8>, Vec<u8>) {
        let Pair::Rsa(pair) = &self.pair else { panic!("not of RSA") };
        let public = ring::rsa::PublicKeyComponents::<Vec<u8>>::from(pair.public());
        (public.n, public.e)
    }

    pub(crate) fn sign(&self, message: &[u8]) -> Vec<u8> {
        let random = SystemRandom::new();
        match &self.pair {
            Pair::Ed(pair) => pair.sign(message).as_ref().to_vec(),
            Pair::Ec(pair) => pair.sign(&random, message).expect("signed").as_ref().to_vec(),
            Pair::Rsa(pair) => {
                let mut signature = vec![0; pair.public().modulus_len()];
                pair.sign(&RSA_PKCS1_SHA256, &random, message, &mut signature).expect("signed");
                signature
            }
        }
    }

    /// A token with this head and these claims.
    pub(crate) fn token_of(&self, head: &Value, claims: &Value) -> String {
        let message = format!("{}.{}", encoded(head.to_string()), encoded(claims.to_string()));
        let signature = encoded(self.sign(message.as_bytes()));
        format!("{message}.{signature}")
    }

    pub(crate) fn head(&self) -> Value {
        json!({"alg": self.algorithm(), "typ": "at+jwt", "kid": self.id})
    }
}

/// It ends with the test's process.
pub(crate) struct Issuer {
    pub(crate) url: String,
    documents: Arc<Mutex<Documents>>,
    asked: Arc<AtomicUsize>,
    is_down: Arc<AtomicBool>,
}

#[derive(Default)]
struct Documents {
    metadata: Value,
    keys: Value,
}

impl Issuer {
    pub(crate) fn new(keys: &[&Key]) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").expect("a port");
        let url = format!("http://{}", listener.local_addr().expect("bound"));
        let metadata = json!({"issuer": url, "jwks_uri": format!("{url}/keys")});
        let documents = Arc::new(Mutex::new(Documents { metadata, keys: json!({"keys": []}) }));
        let (asked, is_down) = (Arc::<AtomicUsize>::default(), Arc::<AtomicBool>::default());
        let issuer = Self { url, documents, asked, is_down };
        issuer.has(keys);
        let (documents, asked, is_down) =
            (Arc::clone(&issuer.documents), Arc::clone(&issuer.asked), Arc::clone(&issuer.is_down));
        std::thread::spawn(move || {
            for stream in listener.incoming().flatten() {
                asked.fetch_add(1, Ordering::SeqCst);
                if !is_down.load(Ordering::SeqCst) {
                    answer(stream, &documents);
                }
            }
        });
        issuer
    }

    /// From now on, these are its keys.
    pub(crate) fn has(&self, keys: &[&Key]) {
        let keys: Vec<Value> = keys.iter().map(|key| key.public()).collect();
        self.documents.lock().expect("no panic").keys = json!({ "keys": keys });
    }

    /// From now on, it says this of itself.
    pub(crate) fn says(&self, metadata: Value) {
        self.documents.lock().expect("no panic").metadata = metadata;
    }

    /// Whether it closes each connection without a word.
    pub(crate) fn set_down(&self, is_down: bool) {
        self.is_down.store(is_down, Ordering::SeqCst);
    }

    /// How many connections came so far.
    pub(crate) fn asked(&self) -> usize {
        self.asked.load(Ordering::SeqCst)
    }

    /// What a token of it says of somebody for five minutes.
    pub(crate) fn claims(&self, subject: &str) -> Value {
        let now = Timestamp::now().as_second();
        json!({
            "iss": self.url, "sub": subject, "aud": AUDIENCE, "client_id": "a-client", "jti": "0001",
            "iat": now, "exp": now + 300,
        })
    }

    /// A token for somebody, with claims in the place of others; null leaves one out.
    pub(crate) fn token(&self, key: &Key, subject: &str, more: Value) -> String {
        let mut claims = self.claims(subject);
        for (name, value) in more.as_object().expect("claims") {
            match value {
                Value::Null => drop(claims.as_object_mut().expect("claims").remove(name)),
                value => claims[name] = value.clone(),
            }
        }
        key.token_of(&key.head(), &claims)
    }

    /// An `[[issuer]]` of `serve.toml`, with more lines.
    pub(crate) fn settings(&self, name: &str, more: &str) -> String {
        format!(
            "[[issuer]]\nname = \"{name}\"\nissuer = \"{}\"\naudience = [\"{AUDIENCE}\", \"http://localhost\"]\n{more}\n",
            self.url
        )
    }
}

fn answer(mut stream: TcpStream, documents: &Mutex<Documents>) {
    stream.set_read_timeout(Some(Duration::from_secs(10))).expect("set");
    let mut head = Vec::new();
    let mut byte = [0];
    while !head.ends_with(b"\r\n\r\n") && stream.read_exact(&mut byte).is_ok() {
        head.push(byte[0]);
    }
    let head = String::from_utf8_lossy(&head).into_owned();
    let path = head.split(' ').nth(1).unwrap_or_default().to_owned();
    let (status, body) = {
        let documents = documents.lock().expect("no panic");
        match path.as_str() {
            "/.well-known/openid-configuration" if !documents.metadata.is_null() => {
                ("200 OK", documents.metadata.to_string())
            }
            "/keys" => ("200 OK", documents.keys.to_string()),
            _ => ("404 Not Found", String::new()),
        }
    };
    let length = body.len();
    let _ = write!(
        stream,
        "HTTP/1.1 {status}\r\ncontent-type: application/json\r\ncontent-length: {length}\r\nconnection: close\r\n\r\n{body}"
    );
}
