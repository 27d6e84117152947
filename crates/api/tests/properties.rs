//! Properties: an instance's name decides its paths and nothing else does, and what crosses the socket comes
//! back as it was.
#![allow(clippy::unwrap_used, missing_docs, reason = "a test that cannot go on panics")]

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use proptest::prelude::*;
use spacedrive_api::instance::{self, DataFiles, InstanceName, Places};
use spacedrive_api::{
    ApiError, Call, Envelope, ErrorKind, Event, Frame, LibraryClose, LibraryCreate, LibraryDelete, LibraryGet, LibraryInfo,
    LibraryList, LibraryOpen, LibraryState, Progress, Status, WirePath,
};
use uuid::Uuid;

fn places() -> Places {
    Places {
        runtime: PathBuf::from("/run/user/1000"),
        records: Some(PathBuf::from("/home/me/.local/state/spacedrive/instances")),
        trash: None,
        current: PathBuf::from("/home/me"),
        data_root: None,
        instance: None,
    }
}

/// Every path that belongs to an instance alone.
fn paths(name: &InstanceName) -> Vec<PathBuf> {
    let places = places();
    let files = places.runtime_files(name).unwrap();
    let data = instance::data_dir(&places.local_root(), name);
    vec![files.socket, files.pid, files.lock, places.record(name).unwrap(), DataFiles::new(&data).config, data]
}

/// Names that are valid, among them those that look like files and folders of ours.
fn valid_name() -> impl Strategy<Value = String> {
    let odd = ["default", "instance-a", "a", "A", "sock", "spacedrive", "ab", "ba", "a-b", "lock", "pid", "a-sock", "libraries"];
    prop_oneof![
        "[A-Za-z0-9][A-Za-z0-9_-]{0,63}",
        "[ab][ab_-]{0,3}",
        proptest::sample::select(odd.to_vec()).prop_map(str::to_owned)
    ]
    .prop_filter("reserved, or default in another case", |name| name.parse::<InstanceName>().is_ok())
}

fn wire_path() -> impl Strategy<Value = WirePath> {
    let text = "\\PC{0,40}".prop_map(|text| WirePath(text.into()));
    prop_oneof![text, proptest::collection::vec(1_u8.., 0..60).prop_map(WirePath::from_bytes)]
}

fn call() -> impl Strategy<Value = Call> {
    let text = || ".{0,40}";
    prop_oneof![
        proptest::option::of(text()).prop_map(|library| Status { library }.into()),
        (text(), proptest::option::of(wire_path())).prop_map(|(name, path)| LibraryCreate { name, path }.into()),
        Just(LibraryList {}.into()),
        wire_path().prop_map(|path| LibraryOpen { path }.into()),
        text().prop_map(|library| LibraryClose { library }.into()),
        (text(), any::<bool>()).prop_map(|(library, open)| LibraryGet { library, open }.into()),
        (text(), any::<bool>()).prop_map(|(library, purge)| LibraryDelete { library, purge }.into()),
    ]
}

fn library() -> impl Strategy<Value = LibraryInfo> {
    let state = proptest::sample::select(vec![
        LibraryState::Open,
        LibraryState::Closed,
        LibraryState::Damaged,
        LibraryState::Missing,
        LibraryState::Locked,
    ]);
    let at = proptest::option::of((0_i64..4_000_000_000, 0_i32..1_000_000_000));
    (any::<u128>(), ".{0,40}", wire_path(), state, proptest::option::of(".{0,40}"), at, any::<u64>()).prop_map(
        |(id, name, path, state, problem, at, bytes)| LibraryInfo {
            id: Uuid::from_u128(id),
            name,
            path,
            state,
            problem,
            created_at: at.map(|(s, ns)| jiff::Timestamp::new(s, ns).unwrap()),
            bytes,
        },
    )
}

fn frame() -> impl Strategy<Value = Frame<Vec<LibraryInfo>>> {
    let progress = (any::<u64>(), proptest::option::of(any::<u64>()), ".{0,9}", ".{0,40}")
        .prop_map(|(done, total, unit, message)| Progress { done, total, unit, message });
    let kind = proptest::sample::select(vec![
        ErrorKind::Failed,
        ErrorKind::Invalid,
        ErrorKind::NotRunning,
        ErrorKind::NotFound,
        ErrorKind::Refused,
        ErrorKind::Conflict,
        ErrorKind::Storage,
        ErrorKind::Unreachable,
        ErrorKind::Version,
        ErrorKind::Partial,
        ErrorKind::Verification,
        ErrorKind::Interrupted,
    ]);
    prop_oneof![
        Just(Frame::Event(Event::Stopping)),
        progress.prop_map(|progress| Frame::Event(Event::Progress(progress))),
        proptest::collection::vec(library(), 0..4).prop_map(Frame::Reply),
        (kind, ".{0,60}", proptest::option::of(".{0,60}")).prop_map(|(kind, message, hint)| Frame::Error(ApiError {
            kind,
            message,
            hint
        })),
    ]
}

/// One JSON line, as it goes over the socket: without a newline in it, and the same when read again.
fn crosses<T: serde::Serialize + serde::de::DeserializeOwned>(value: &T) -> T {
    let bytes = serde_json::to_vec(value).unwrap();
    assert!(!bytes.contains(&b'\n'), "{}", String::from_utf8_lossy(&bytes));
    serde_json::from_slice(&bytes).unwrap()
}

proptest! {
    #[test]
    fn two_names_share_no_path(names in proptest::collection::btree_set(valid_name(), 2..20)) {
        let mut owners: BTreeMap<PathBuf, InstanceName> = BTreeMap::new();
        for name in names {
            let name: InstanceName = name.parse().unwrap();
            for path in paths(&name) {
                if let Some(other) = owners.insert(path.clone(), name.clone()) {
                    prop_assert_eq!(&other, &name, "{} belongs to both", path.display());
                }
            }
        }
    }

    #[test]
    fn a_name_is_found_again_in_its_files(name in valid_name()) {
        let name: InstanceName = name.parse().unwrap();
        let files = places().runtime_files(&name).unwrap();
        let file = |path: &Path| path.file_name().unwrap().to_str().unwrap().to_owned();
        prop_assert_eq!(InstanceName::from_file(&file(&files.socket), "sock"), Some(name.clone()));
        prop_assert_eq!(InstanceName::from_file(&file(&files.pid), "pid"), Some(name.clone()));
        let folder = file(&instance::data_dir(Path::new("/root"), &name));
        prop_assert_eq!(instance::from_folder(&folder), (!name.is_default()).then_some(name.clone()));
        prop_assert_eq!(name.to_string().parse::<InstanceName>().unwrap(), name.clone());
        prop_assert_eq!(crosses(&name), name);
    }

    #[test]
    fn a_path_of_an_instance_never_leaves_its_folder(name in "\\PC{0,80}") {
        match name.parse::<InstanceName>() {
            Ok(name) => {
                let (places, data) = (places(), instance::data_dir(Path::new("/root"), &name));
                let socket = places.runtime_files(&name).unwrap().socket;
                prop_assert_eq!(socket.parent(), Some(places.runtime.as_path()));
                prop_assert!(data == Path::new("/root") || data.parent() == Some(Path::new("/root")));
                prop_assert!(name.as_str().len() <= 64 && name.as_str().bytes().all(|b| b.is_ascii_graphic() && b != b'/' && b != b'.'));
            }
            Err(error) => {
                prop_assert!(matches!(error.kind, ErrorKind::Invalid | ErrorKind::Conflict));
                prop_assert!(!error.message.contains(char::is_control));
            }
        }
    }

    #[test]
    fn a_path_crosses_byte_for_byte(path in wire_path()) {
        let back = crosses(&path);
        prop_assert_eq!(back.as_bytes(), path.as_bytes());
        prop_assert_eq!(path.base64().is_some(), std::str::from_utf8(path.as_bytes()).is_err());
    }

    #[test]
    fn a_request_crosses_unchanged(protocol in any::<u32>(), call in call()) {
        let envelope = Envelope { protocol, call };
        prop_assert_eq!(crosses(&envelope), envelope);
    }

    #[test]
    fn a_frame_crosses_unchanged(frame in frame()) {
        prop_assert_eq!(crosses(&frame), frame);
    }

    #[test]
    fn no_bytes_make_the_reader_of_requests_panic(bytes in proptest::collection::vec(any::<u8>(), 0..200)) {
        let _ = serde_json::from_slice::<Envelope>(&bytes);
        let _ = serde_json::from_slice::<Frame<Vec<LibraryInfo>>>(&bytes);
    }
}

#[test]
fn what_a_newer_version_adds_is_read_over() {
    let event: Frame<()> = serde_json::from_str(r#"{"event":{"type":"eclipse","of":"the moon"}}"#).unwrap();
    assert_eq!(event, Frame::Event(Event::Unknown));
    let error: Frame<()> = serde_json::from_str(r#"{"error":{"kind":"bewitched","message":"m","spell":7}}"#).unwrap();
    assert_eq!(error, Frame::Error(ApiError { kind: ErrorKind::Unknown, message: "m".into(), hint: None }));
}
