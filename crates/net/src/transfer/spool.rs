//! A manifest on disk, so that a million entries need no memory: an unnamed temporary file of records.

use std::fs::File;
use std::io::{self, BufReader, BufWriter, Read, Seek, Write};
use std::marker::PhantomData;
use std::path::Path;

use serde::{Serialize, de::DeserializeOwned};

use super::error::{Result, TransferError};

/// A spool that is being written.
pub(crate) struct SpoolWriter<T> {
    file: BufWriter<File>,
    records: PhantomData<T>,
}

/// A finished spool.
#[derive(Debug)]
pub(crate) struct Spool<T> {
    file: File,
    records: PhantomData<T>,
}

/// Goes through a spool once.
pub(crate) struct SpoolReader<T> {
    file: BufReader<File>,
    body: Vec<u8>,
    records: PhantomData<T>,
}

impl<T: Serialize> SpoolWriter<T> {
    /// A new spool on the file system of `dir`.
    pub(crate) fn create(dir: &Path) -> Result<Self> {
        let file = tempfile::tempfile_in(dir).map_err(TransferError::io(dir))?;
        Ok(Self { file: BufWriter::with_capacity(64 * 1024, file), records: PhantomData })
    }

    pub(crate) fn push(&mut self, record: &T) -> Result<()> {
        let body =
            postcard::to_allocvec(record).map_err(|_| TransferError::Protocol { what: "a record that cannot be encoded" })?;
        (|| {
            self.file.write_all(&(body.len() as u32).to_le_bytes())?;
            self.file.write_all(&body)
        })()
        .map_err(TransferError::io("the manifest"))
    }

    pub(crate) fn finish(self) -> Result<Spool<T>> {
        let file = self.file.into_inner().map_err(io::IntoInnerError::into_error).map_err(TransferError::io("the manifest"))?;
        Ok(Spool { file, records: PhantomData })
    }
}

impl<T: DeserializeOwned> Spool<T> {
    /// From the beginning. One reader at a time: they share the position in the file.
    pub(crate) fn read(&self) -> Result<SpoolReader<T>> {
        let mut file = self.file.try_clone().map_err(TransferError::io("the manifest"))?;
        file.rewind().map_err(TransferError::io("the manifest"))?;
        Ok(SpoolReader { file: BufReader::with_capacity(64 * 1024, file), body: Vec::new(), records: PhantomData })
    }
}

impl<T: DeserializeOwned> SpoolReader<T> {
    /// The next record.
    pub(crate) fn next(&mut self) -> Result<Option<T>> {
        let mut length = [0; 4];
        match self.file.read_exact(&mut length) {
            Err(error) if error.kind() == io::ErrorKind::UnexpectedEof => return Ok(None),
            other => other.map_err(TransferError::io("the manifest"))?,
        }
        self.body.resize(u32::from_le_bytes(length) as usize, 0);
        self.file.read_exact(&mut self.body).map_err(TransferError::io("the manifest"))?;
        postcard::from_bytes(&self.body).map(Some).map_err(|_| TransferError::Protocol { what: "a damaged record" })
    }
}
