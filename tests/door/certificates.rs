//! Client certificates: whose they are, what they let in, and when they no longer do. On real sockets, over TLS.

use std::io::{self, BufRead, BufReader, Read, Write};
use std::net::TcpStream;
use std::os::unix::fs::PermissionsExt;
use std::sync::Arc;

use portcullis::audit::event::Event;
use portcullis::authn::{Credential, Refused};
use rcgen::{
    BasicConstraints, Certificate, CertificateParams, CertificateRevocationListParams, CertifiedIssuer,
    ExtendedKeyUsagePurpose, IsCa, KeyIdMethod, KeyPair, KeyUsagePurpose, RevokedCertParams, SanType,
    SerialNumber, date_time_ymd,
};
use rustls::pki_types::{PrivateKeyDer, PrivatePkcs8KeyDer, ServerName};
use rustls::{ClientConfig, ClientConnection, RootCertStore, StreamOwned};

use crate::harness::client::ANSWER_TIME_MAX;
use crate::harness::process::{Cli, Running, exists, wait_until};

/// Who signs client certificates.
type Authority = CertifiedIssuer<'static, KeyPair>;

fn authority(name: &str) -> Authority {
    let mut params = CertificateParams::new(Vec::new()).expect("no names");
    params.distinguished_name.push(rcgen::DnType::CommonName, name);
    params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    params.key_usages = vec![KeyUsagePurpose::KeyCertSign, KeyUsagePurpose::CrlSign];
    Authority::self_signed(params, KeyPair::generate().expect("a key")).expect("a certificate")
}

/// A client's certificate and key.
struct Identity {
    certificate: Certificate,
    key: KeyPair,
    serial: u64,
}

fn identity(by: &Authority, serial: u64, name: SanType) -> Identity {
    let mut params = CertificateParams::new(Vec::new()).expect("no names");
    params.subject_alt_names = vec![name];
    params.serial_number = Some(SerialNumber::from(serial));
    params.extended_key_usages = vec![ExtendedKeyUsagePurpose::ClientAuth];
    let key = KeyPair::generate().expect("a key");
    let certificate = params.signed_by(&key, by).expect("signed");
    Identity { certificate, key, serial }
}

fn uri(text: &str) -> SanType {
    SanType::URI(text.try_into().expect("ASCII"))
}

fn dns(text: &str) -> SanType {
    SanType::DnsName(text.try_into().expect("ASCII"))
}

/// What revokes these.
fn revoked(by: &Authority, serials: &[u64]) -> String {
    let entry = |serial: &u64| RevokedCertParams {
        serial_number: SerialNumber::from(*serial),
        revocation_time: date_time_ymd(2026, 1, 1),
        reason_code: None,
        invalidity_date: None,
    };
    let params = CertificateRevocationListParams {
        this_update: date_time_ymd(2026, 1, 1),
        next_update: date_time_ymd(2046, 1, 1),
        crl_number: SerialNumber::from(1_u64),
        issuing_distribution_point: None,
        revoked_certs: serials.iter().map(entry).collect(),
        key_identifier_method: KeyIdMethod::Sha256,
    };
    params.signed_by(by).expect("signed").pem().expect("PEM")
}

/// A host over TLS that asks for certificates.
struct Served {
    cli: Cli,
    server: Running,
    certificate: Certificate,
}

impl Served {
    /// With these lines of settings beside those of TLS.
    fn open(authority: &Authority, settings: &str) -> Self {
        let cli = Cli::new();
        cli.run(["package", "list"]).expect(0);
        let made = rcgen::generate_simple_self_signed(["localhost".to_owned()]).expect("a certificate");
        let certificate = cli.file("chain.pem", made.cert.pem());
        let key = cli.file("key.pem", made.signing_key.serialize_pem());
        std::fs::set_permissions(&key, PermissionsExt::from_mode(0o600)).expect("changed");
        let ca = cli.file("clients.pem", authority.pem());
        let settings = format!(
            "tls_cert = \"{certificate}\"\ntls_key = \"{key}\"\ntls_client_ca = \"{ca}\"\n{settings}"
        );
        std::fs::write(cli.data.join("serve.toml"), settings).expect("written");
        let server = cli.start(["serve", "--listen", "127.0.0.1:0"]);
        wait_until("it listens, and has a key", || exists(&cli.data.join("admin.key")));
        Self { cli, server, certificate: made.cert }
    }

    fn connect(&self, identity: Option<&Identity>) -> io::Result<Connection> {
        let mut roots = RootCertStore::empty();
        roots.add(self.certificate.der().clone()).expect("a certificate");
        let provider = Arc::new(rustls::crypto::ring::default_provider());
        let builder = ClientConfig::builder_with_provider(provider)
            .with_safe_default_protocol_versions()
            .expect("versions")
            .with_root_certificates(roots);
        let config = match identity {
            None => builder.with_no_client_auth(),
            Some(Identity { certificate, key, .. }) => {
                let key = PrivateKeyDer::from(PrivatePkcs8KeyDer::from(key.serialize_der()));
                builder.with_client_auth_cert(vec![certificate.der().clone()], key).expect("a pair")
            }
        };
        let name = ServerName::try_from("localhost").expect("a name");
        let connection = ClientConnection::new(Arc::new(config), name).expect("a client");
        let stream = TcpStream::connect(("127.0.0.1", self.cli.port()))?;
        stream.set_read_timeout(Some(ANSWER_TIME_MAX))?;
        Ok(Connection(BufReader::new(StreamOwned::new(connection, stream))))
    }

    /// The status of one request on a connection of its own; none if TLS refuses.
    fn status(&self, identity: Option<&Identity>, key: Option<&str>) -> Option<u16> {
        self.connect(identity).ok()?.get("/v1/tools", key).ok()
    }
}

/// One that stays open.
struct Connection(BufReader<StreamOwned<ClientConnection, TcpStream>>);

impl Connection {
    fn get(&mut self, target: &str, key: Option<&str>) -> io::Result<u16> {
        let key = key.map(|key| format!("authorization: Bearer {key}\r\n")).unwrap_or_default();
        self.0
            .get_mut()
            .write_all(format!("GET {target} HTTP/1.1\r\nhost: localhost\r\n{key}\r\n").as_bytes())?;
        let mut line = String::new();
        self.0.read_line(&mut line)?;
        let status = line.split(' ').nth(1).and_then(|status| status.parse().ok());
        let status = status.ok_or_else(|| io::Error::other(line.clone()))?;
        let mut length = 0;
        loop {
            line.clear();
            self.0.read_line(&mut line)?;
            if line == "\r\n" || line.is_empty() {
                break;
            }
            if let Some((name, value)) = line.split_once(':')
                && name.eq_ignore_ascii_case("content-length")
            {
                length = value.trim().parse().expect("a length");
            }
        }
        let mut body = vec![0; length];
        self.0.read_exact(&mut body)?;
        Ok(status)
    }
}

#[test]
fn a_certificate_lets_in_whom_the_settings_name_and_a_strangers_lets_nobody_in() {
    let (ours, theirs) = (authority("ours"), authority("theirs"));
    let by_uri = identity(&ours, 1, uri("spiffe://example.org/ann"));
    let by_dns = identity(&ours, 2, dns("Bob.example.org"));
    let by_digest = identity(&ours, 3, dns("cleo.example.org"));
    let unnamed = identity(&ours, 4, uri("spiffe://example.org/ann/x"));
    let stranger = identity(&theirs, 1, uri("spiffe://example.org/ann"));
    let digest = ring::digest::digest(&ring::digest::SHA256, by_digest.certificate.der());
    let digest: String = digest.as_ref().iter().map(|byte| format!("{byte:02x}")).collect();
    let served = Served::open(
        &ours,
        &format!(
            "[[client_certificate]]\nuri = \"spiffe://example.org/ann\"\nprincipal = \"ann\"\n\
             [[client_certificate]]\ndns = \"bob.example.org\"\nprincipal = \"bob\"\n\
             [[client_certificate]]\nsha256 = \"{digest}\"\nprincipal = \"cleo\"\n"
        ),
    );
    for identity in [&by_uri, &by_dns, &by_digest] {
        assert_eq!(served.status(Some(identity), None), Some(200), "{}", identity.serial);
    }
    assert_eq!(served.status(None, None), Some(401), "they are not required");
    assert_eq!(served.status(Some(&unnamed), None), Some(401), "it says nobody");
    assert_eq!(served.status(Some(&stranger), None), None, "TLS refuses it");

    // With a key of the same principal, or of nobody in particular's certificate: let in. Of another: not.
    let key =
        |name: &str| served.cli.json(&["key", "create", name])["token"].as_str().expect("a key").to_owned();
    let (ann, bob) = (key("ann"), key("bob"));
    assert_eq!(served.status(Some(&by_uri), Some(&ann)), Some(200));
    assert_eq!(served.status(Some(&unnamed), Some(&bob)), Some(200));
    assert_eq!(served.status(None, Some(&bob)), Some(200));
    assert_eq!(served.status(Some(&by_uri), Some(&bob)), Some(403));
    assert_eq!(served.status(Some(&by_uri), Some("pcl_")), Some(401));
    served.cli.wait_for_record("the mixture is recorded", |record| {
        matches!(record.event, Event::AuthenticationFailed { reason: Refused::TwoPrincipals, .. })
            .then_some(())
    });
    // It has the role that an admin gave its principal, and goes with that.
    let mut open = served.connect(Some(&by_dns)).expect("connected");
    assert_eq!(open.get("/v1/keys", None).expect("answered"), 403);
    served.cli.run(["principal", "add", "bob", "--role", "auditor"]).expect(0);
    assert_eq!(open.get("/v1/keys", None).expect("answered"), 200);
    served.cli.run(["principal", "remove", "bob"]).expect(0);
    assert_eq!(open.get("/v1/tools", None).expect("answered"), 403);
    served.server.interrupt().expect(0);
}

/// Revoked by a list, also on a connection that is open; and required, if that is said.
#[test]
fn a_revoked_certificate_lets_nobody_in_any_more() {
    let ours = authority("ours");
    let (ann, bob) = (identity(&ours, 1, uri("urn:ann")), identity(&ours, 2, uri("urn:bob")));
    let lists = Cli::new();
    let list = lists.file("revoked.pem", revoked(&ours, &[]));
    let served = Served::open(
        &ours,
        &format!(
            "tls_client_crl = \"{list}\"\ntls_client_required = true\n\
             [[client_certificate]]\nuri = \"urn:ann\"\nprincipal = \"ann\"\n\
             [[client_certificate]]\nuri = \"urn:bob\"\nprincipal = \"bob\"\n"
        ),
    );
    let mut open = served.connect(Some(&ann)).expect("connected");
    assert_eq!(open.get("/v1/tools", None).expect("answered"), 200);
    assert_eq!(served.status(None, None), None, "one is required");
    // A list that is none changes nothing.
    std::fs::write(&list, "nothing").expect("written");
    assert_eq!(open.get("/v1/tools", None).expect("answered"), 200);
    std::fs::write(&list, revoked(&ours, &[ann.serial])).expect("written");
    wait_until("the list is read", || served.status(Some(&ann), None).is_none());
    assert_eq!(open.get("/v1/tools", None).expect("answered"), 403, "the open connection knows as well");
    assert_eq!(served.status(Some(&bob), None), Some(200));
    served.cli.wait_for_record("it is recorded", |record| {
        matches!(record.event, Event::AuthenticationFailed { reason: Refused::BadCertificate, .. })
            .then_some(())
    });
    served.server.interrupt().expect(0);
}

/// A call names the certificate that its caller was let in by.
#[test]
fn a_call_by_a_certificate_is_recorded_with_its_digest() {
    let ours = authority("ours");
    let ann = identity(&ours, 1, uri("urn:ann"));
    let served =
        Served::open(&ours, "[[client_certificate]]\nuri = \"urn:ann\"\nprincipal = \"researcher\"\n");
    served.cli.install_notes();
    let mut open = served.connect(Some(&ann)).expect("connected");
    let head =
        "POST /v1/calls?package=notes&tool=list HTTP/1.1\r\nhost: localhost\r\ncontent-length: 2\r\n\r\n{}";
    open.0.get_mut().write_all(head.as_bytes()).expect("sent");
    let credential = served.cli.wait_for_record("the call is admitted", |record| match &record.event {
        Event::CallAdmitted { credential, .. } => Some(credential.clone()),
        _ => None,
    });
    let digest = ring::digest::digest(&ring::digest::SHA256, ann.certificate.der());
    let digest: String = digest.as_ref().iter().map(|byte| format!("{byte:02x}")).collect();
    assert_eq!(credential, Some(Credential::Certificate(digest.parse().expect("a digest"))));
    served.server.interrupt().expect(0);
}
