//! Resolving once, connecting to what was judged, and TLS for the judged name.

use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use rustls::ServerConfig;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpListener;
use tokio_rustls::TlsAcceptor;

use super::super::{
    ADDRESSES_MAX, AddressClass, EgressError, Phase, Protocol, Resolver, Resolving, Roots, SystemResolver,
    Tls, UrlHost, connect, resolve_judged,
};

const SOON: Duration = Duration::from_millis(200);
const LONG: Duration = Duration::from_secs(10);

/// Answers as it is told: each lookup gets the next answer, the last one for ever.
#[derive(Debug)]
struct Scripted {
    answers: Vec<Vec<IpAddr>>,
    asked: AtomicUsize,
    slow: Option<Duration>,
}

impl Scripted {
    fn new(answers: &[&[&str]]) -> Self {
        let parse = |answer: &&[&str]| answer.iter().map(|text| text.parse().expect("an address")).collect();
        Self { answers: answers.iter().map(parse).collect(), asked: AtomicUsize::new(0), slow: None }
    }
}

impl Resolver for Scripted {
    fn resolve<'a>(&'a self, _: &'a str) -> Resolving<'a> {
        Box::pin(async move {
            if let Some(slow) = self.slow {
                tokio::time::sleep(slow).await;
            }
            let asked = self.asked.fetch_add(1, Ordering::Relaxed);
            Ok(self.answers[asked.min(self.answers.len() - 1)].clone())
        })
    }
}

fn host(text: &str) -> UrlHost {
    UrlHost::parse(text).expect("a host")
}

async fn judged(resolver: &dyn Resolver, name: &str, cidrs: &[&str]) -> Result<Vec<SocketAddr>, EgressError> {
    let cidrs: Vec<_> = cidrs.iter().map(|cidr| cidr.parse().expect("a CIDR")).collect();
    resolve_judged(&host(name), 443, &cidrs, resolver, SOON).await
}

#[tokio::test]
async fn a_name_is_looked_up_once_and_one_refused_address_refuses_all() {
    let public = Scripted::new(&[&["93.184.216.34", "2606:2800::1", "93.184.216.34"], &["127.0.0.1"]]);
    let expected: Vec<SocketAddr> =
        ["93.184.216.34:443", "[2606:2800::1]:443"].map(|text| text.parse().expect("an address")).into();
    assert_eq!(judged(&public, "ok.example", &[]).await.expect("public"), expected);
    assert_eq!(public.asked.load(Ordering::Relaxed), 1);

    // Case 49.
    let mixed = Scripted::new(&[&["93.184.216.34", "10.0.0.1"]]);
    let refused = judged(&mixed, "mixed.example", &[]).await.expect_err("one is private");
    let EgressError::Address(refused) = refused else { panic!("{refused}") };
    assert_eq!((refused.address, refused.class), (IpAddr::from([10, 0, 0, 1]), AddressClass::Private));
    assert_eq!(judged(&mixed, "mixed.example", &["10.0.0.0/8"]).await.expect("granted").len(), 2);
}

#[tokio::test]
async fn addresses_are_judged_without_a_lookup() {
    let never = Scripted::new(&[&["93.184.216.34"]]);
    for text in
        ["127.1", "0177.1", "2130706433", "0x7f000001", "[::1]", "[::ffff:10.0.0.1]", "169.254.169.254"]
    {
        assert!(matches!(judged(&never, text, &[]).await, Err(EgressError::Address(_))), "{text}");
    }
    assert!(judged(&never, "127.1", &["127.0.0.0/8"]).await.is_ok());
    assert_eq!(never.asked.load(Ordering::Relaxed), 0);
}

#[tokio::test]
async fn lookups_have_a_deadline_and_answers_a_bound() {
    let slow = Scripted { slow: Some(LONG), ..Scripted::new(&[&["93.184.216.34"]]) };
    let started = Instant::now();
    let late = judged(&slow, "slow.example", &[]).await;
    assert!(matches!(late, Err(EgressError::TimedOut { phase: Phase::Lookup, .. })), "{late:?}");
    assert!(started.elapsed() < LONG / 2);

    let many: Vec<String> = (0..=ADDRESSES_MAX).map(|n| format!("93.184.216.{n}")).collect();
    let many: Vec<&str> = many.iter().map(String::as_str).collect();
    let exactly = Scripted::new(&[&many[1..]]);
    assert_eq!(judged(&exactly, "many.example", &[]).await.expect("at the bound").len(), ADDRESSES_MAX);
    let too_many = judged(&Scripted::new(&[&many]), "many.example", &[]).await;
    assert!(matches!(too_many, Err(EgressError::TooManyAddresses)), "{too_many:?}");
    let none = judged(&Scripted::new(&[&[]]), "none.example", &[]).await;
    assert!(matches!(none, Err(EgressError::Lookup(_))), "{none:?}");
}

#[tokio::test]
async fn the_systems_resolver_knows_this_machine_and_the_judge_refuses_it() {
    let found = judged(&SystemResolver::default(), "localhost", &[]).await;
    let Err(EgressError::Address(refused)) = found else { panic!("{found:?}") };
    assert_eq!(refused.class, AddressClass::Loopback);
    let granted = judged(&SystemResolver::default(), "localhost", &["127.0.0.0/8", "::1/128"]).await;
    assert!(granted.is_ok(), "{granted:?}");
}

#[tokio::test]
async fn the_next_address_is_tried_within_one_deadline() {
    let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
    let open = listener.local_addr().expect("an address");
    let shut = {
        let gone = TcpListener::bind("127.0.0.1:0").await.expect("a port");
        gone.local_addr().expect("an address")
    };
    let stream = connect(&[shut, open], LONG).await.expect("the second");
    assert_eq!(stream.peer_addr().expect("a peer"), open);
    let failed = connect(&[shut], LONG).await;
    assert!(matches!(failed, Err(EgressError::Connect(_))), "{failed:?}");
    let nowhere = connect(&[], LONG).await;
    assert!(matches!(nowhere, Err(EgressError::Connect(_))), "{nowhere:?}");
}

/// A server of TLS for `name`, which answers each connection with the server name it was told.
async fn tls_server(name: &str, alpn: &[&[u8]]) -> (SocketAddr, Tls) {
    let made = rcgen::generate_simple_self_signed([name.to_owned()]).expect("a certificate");
    let certificate: CertificateDer<'static> = made.cert.der().clone();
    let key = PrivateKeyDer::try_from(made.signing_key.serialize_der()).expect("a key");
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let mut config = ServerConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .expect("versions")
        .with_no_client_auth()
        .with_single_cert(vec![certificate.clone()], key)
        .expect("a pair");
    config.alpn_protocols = alpn.iter().map(|protocol| protocol.to_vec()).collect();
    let acceptor = TlsAcceptor::from(Arc::new(config));
    let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
    let address = listener.local_addr().expect("an address");
    tokio::spawn(async move {
        while let Ok((stream, _)) = listener.accept().await {
            let acceptor = acceptor.clone();
            tokio::spawn(async move {
                let Ok(mut stream) = acceptor.accept(stream).await else { return };
                let told = stream.get_ref().1.server_name().unwrap_or("nothing").to_owned();
                let _ = stream.write_all(told.as_bytes()).await;
                let _ = stream.shutdown().await;
            });
        }
    });
    (address, Tls::new(&Roots::Given(vec![certificate])).expect("roots"))
}

async fn told(tls: &Tls, name: &str, address: SocketAddr) -> Result<(String, Protocol), EgressError> {
    let stream = connect(&[address], LONG).await?;
    let (mut stream, protocol) = tls.handshake_http(&host(name), stream, LONG).await?;
    let mut told = String::new();
    stream.read_to_string(&mut told).await.map_err(EgressError::Tls)?;
    Ok((told, protocol))
}

#[tokio::test]
async fn tls_is_for_the_judged_name_and_for_no_other() {
    let (address, tls) = tls_server("ok.example", &[b"h2"]).await;
    assert_eq!(
        told(&tls, "OK.example.", address).await.expect("its name"),
        ("ok.example".into(), Protocol::Http2)
    );
    let wrong = told(&tls, "other.example", address).await;
    assert!(matches!(wrong, Err(EgressError::Certificate(_))), "{wrong:?}");
    let unknown = Tls::new(&Roots::Given(Vec::new())).expect("no roots");
    let refused = told(&unknown, "ok.example", address).await;
    assert!(matches!(refused, Err(EgressError::Certificate(_))), "{refused:?}");
}

#[tokio::test]
async fn an_address_is_not_told_as_a_name() {
    let (address, tls) = tls_server("127.0.0.1", &[]).await;
    assert_eq!(told(&tls, "127.1", address).await.expect("its address"), ("nothing".into(), Protocol::Http1));
    let wrong = told(&tls, "127.0.0.2", address).await;
    assert!(matches!(wrong, Err(EgressError::Certificate(_))), "{wrong:?}");
}

#[tokio::test]
async fn a_handshake_has_a_deadline() {
    let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
    let address = listener.local_addr().expect("an address");
    let stream = connect(&[address], LONG).await.expect("the kernel takes it");
    let tls = Tls::new(&Roots::Given(Vec::new())).expect("no roots");
    let late = tls.handshake(&host("ok.example"), stream, SOON).await;
    assert!(matches!(late, Err(EgressError::TimedOut { phase: Phase::Handshake, .. })), "{late:?}");
    drop(listener);
}
