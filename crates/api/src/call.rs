//! Every call that the command line can make, each tied to its reply.

use serde::{Deserialize, Serialize, de::DeserializeOwned};

use crate::*;

/// The arguments of a call, tied to what answers it.
pub trait Request: Into<Call> + Serialize + Send + 'static {
    /// What the daemon replies when the call was done.
    type Reply: Serialize + DeserializeOwned + Send + 'static;
}

macro_rules! calls {
    ($($(#[$doc:meta])* $name:ident => $reply:ty,)*) => {
        /// A call with its arguments. Adding a line here without a handler does not compile.
        #[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
        #[serde(tag = "call", content = "args", rename_all = "snake_case")]
        pub enum Call { $($(#[$doc])* $name($name),)* }

        $(
            impl Request for $name { type Reply = $reply; }
            impl From<$name> for Call { fn from(request: $name) -> Self { Self::$name(request) } }
        )*
    };
}

calls! {
    /// The whole view of the instance, for `status`.
    Status => StatusInfo,
    /// Makes a library.
    LibraryCreate => LibraryInfo,
    /// Lists the libraries of the instance.
    LibraryList => Vec<LibraryInfo>,
    /// Opens a library that lies in a folder.
    LibraryOpen => LibraryInfo,
    /// Closes a library: its files are released, it stays known.
    LibraryClose => LibraryInfo,
    /// One library, by name, id or unique prefix of the id.
    LibraryGet => LibraryInfo,
    /// Removes a library.
    LibraryDelete => LibraryDeleted,
    /// How networking stands.
    NetworkStatus => NetworkInfo,
    /// Makes the identity, or unlocks it.
    NetworkInit => NetworkInitialised,
    /// Switches networking on.
    NetworkStart => NetworkInfo,
    /// Switches networking off.
    NetworkStop => NetworkInfo,
    /// Changes the password of the identity.
    NetworkPasswd => NetworkInfo,
    /// Destroys the identity and all pairings.
    NetworkReset => NetworkWasReset,
    /// Lists the paired devices.
    DeviceList => Vec<DeviceInfo>,
    /// Revokes a paired device.
    DeviceRevoke => DeviceInfo,
    /// Makes a pairing code.
    PairGenerate => PairGenerated,
    /// Joins with a pairing code.
    PairJoin => PairJoined,
    /// Lists the pairing sessions.
    PairList => Vec<PairingInfo>,
    /// Accepts or rejects a joiner.
    PairDecide => PairingInfo,
    /// Watches a pairing session to its end.
    PairWatch => PairingInfo,
    /// The deleted libraries that can be restored.
    LibraryTrash => Vec<Trashed>,
    /// Restores a deleted library.
    LibraryRestore => LibraryInfo,
    /// Copies the instance's libraries into a new data dir.
    InstanceCopy => InstanceCopied,
    /// Changes the instance's configuration.
    ConfigSet => ConfigChanged,
    /// Checks a library.
    LibraryCheck => LibraryChecked,
    /// Copies a library's database.
    LibraryBackup => LibraryBackedUp,
    /// Adds a folder to a library.
    LocationAdd => LocationAdded,
    /// Lists the locations of a library.
    LocationList => Vec<LocationInfo>,
    /// One location.
    LocationGet => LocationInfo,
    /// Takes a location out of a library.
    LocationRemove => LocationInfo,
    /// Indexes a location again.
    IndexLocation => IndexStarted,
    /// Indexes a path now.
    Scan => IndexStarted,
    /// Looks at a folder and writes nothing.
    Browse => Browsed,
    /// Lists jobs.
    JobList => Vec<JobInfo>,
    /// One job with its problems.
    JobGet => JobInfo,
    /// Follows one job, or all that are under way.
    JobWatch => Vec<JobInfo>,
    /// Pauses, resumes or cancels a job.
    JobControl => JobInfo,
    /// Finds entries by name and other facts. Pages of hits come as events before the last one.
    Search => SearchFound,
    /// Finds files with equal content.
    Duplicates => DuplicatesFound,
    /// Watches the instance as a whole.
    Monitor => MonitorEnded,
    /// Sends files to a paired device.
    DropSend => DropInfo,
    /// Lists the drops.
    DropList => Vec<DropInfo>,
    /// Accepts, rejects or cancels a drop.
    DropDecide => DropInfo,
    /// Watches a drop to its end.
    DropWatch => DropInfo,
    /// How a device is trusted, and changes it.
    DeviceTrust => TrustInfo,
    /// Copies, moves or deletes files.
    FileStart => FileReport,
    /// What a copy, move or deletion has done.
    FileGet => FileReport,
    /// Undoes the last copy, move or deletion.
    FileUndo => FileUndone,
}
