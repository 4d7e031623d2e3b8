//! A repository directory, opened and locked: what is published, what is drafted, who has which key.

use std::collections::BTreeMap;
use std::fs::{File, OpenOptions, TryLockError};
use std::path::Path;
use std::sync::Arc;

use twinroot_trust::time::UnixTime;

use crate::documents::{Delegations, Document, Envelope, Root, Targets};
use crate::error::{Error, Result};
use crate::files::{self, Disk, Files};
use crate::keys::PublicKey;
use crate::layout::{Layout, channel_role};
use crate::published::{Published, highest_version_on_disk};
use crate::settings::Settings;

/// An open repository. The lock ends with the process that holds it, however that ends.
#[derive(Debug)]
pub struct Repository {
    /// Where things lie.
    pub layout: Layout,
    /// What was decided once.
    pub settings: Settings,
    /// What clients see.
    pub published: Published,
    pub(crate) files: Arc<dyn Files>,
    names: BTreeMap<String, String>,
    _lock: File,
}

impl Repository {
    /// Opens a repository on the real file system.
    ///
    /// # Errors
    /// [`Error::RepositoryMissing`], [`Error::RepositoryLocked`], [`Error::Damaged`].
    pub fn open(dir: &Path) -> Result<Self> {
        Self::open_with(dir, Arc::new(Disk))
    }

    /// Opens a repository whose writes go through `files`.
    ///
    /// # Errors
    /// As [`Repository::open`].
    pub fn open_with(dir: &Path, files: Arc<dyn Files>) -> Result<Self> {
        let layout = Layout::new(dir);
        let settings = Settings::load(&layout)?;
        let lock = take_lock(&layout)?;
        let published = Published::load(&layout)?;
        let mut repository = Self {
            layout,
            settings,
            published,
            files,
            names: BTreeMap::new(),
            _lock: lock,
        };
        repository.load_names()?;
        Ok(repository)
    }

    /// Reads again what is published, after it was changed.
    ///
    /// # Errors
    /// As [`Repository::open`].
    pub fn reload(&mut self) -> Result<()> {
        self.published = Published::load(&self.layout)?;
        Ok(())
    }

    /// The name of a key id; the id itself where no name is known.
    pub fn key_name<'a>(&'a self, id: &'a str) -> &'a str {
        self.names.get(id).map_or(id, String::as_str)
    }

    /// Ids and names of all keys that this repository knows.
    pub fn key_names(&self) -> impl Iterator<Item = (&str, &str)> {
        self.names
            .iter()
            .map(|(id, name)| (id.as_str(), name.as_str()))
    }

    /// Remembers the name of a public key.
    ///
    /// # Errors
    /// [`Error::KeyKindRefused`] when the settings do not allow its kind; [`Error::KeyExists`]
    /// when another key has the name.
    pub fn remember_key(&mut self, name: &str, key: &PublicKey) -> Result<()> {
        if matches!(key, PublicKey::P256(_)) && !self.settings.allow_p256 {
            return Err(Error::KeyKindRefused { name: name.into() });
        }
        let path = self.layout.public_keys().join(format!("{name}.pub"));
        let pem = key.to_pem();
        match files::read_if_there(&path)? {
            Some(known) if known == pem.as_bytes() => {}
            Some(_) => return Err(Error::KeyExists(path)),
            None => files::write_durably(&*self.files, &path, pem.as_bytes())?,
        }
        self.names.insert(key.id(), name.into());
        Ok(())
    }

    /// The draft of a role, if there is one.
    ///
    /// # Errors
    /// [`Error::Damaged`] when the file cannot be read back.
    pub fn draft(&self, role: &str) -> Result<Option<Envelope>> {
        let path = self.layout.draft(role);
        let Some(bytes) = files::read_if_there(&path)? else {
            return Ok(None);
        };
        let envelope = Envelope::parse(&bytes)
            .map_err(|why| Error::damaged(path.display().to_string(), why))?;
        Ok(Some(envelope))
    }

    /// The draft of a role as its type.
    ///
    /// # Errors
    /// As [`Repository::draft`].
    pub fn draft_of<D: Document>(&self, role: &str) -> Result<Option<D>> {
        let Some(envelope) = self.draft(role)? else {
            return Ok(None);
        };
        let damaged = |why| Error::damaged(format!("draft {role}"), why);
        envelope.document().map(Some).map_err(damaged)
    }

    /// The roles that have drafts: root and targets first, since others depend on them.
    ///
    /// # Errors
    /// [`Error::Io`].
    pub fn drafts(&self) -> Result<Vec<String>> {
        let mut roles: Vec<String> = files::list(&self.layout.drafts())?
            .iter()
            .filter(|name| !name.starts_with('.'))
            .filter_map(|name| name.strip_suffix(".json").map(str::to_owned))
            .collect();
        roles.sort_by_key(|role| match role.as_str() {
            "root" => 0,
            "targets" => 1,
            _ => 2,
        });
        Ok(roles)
    }

    /// Writes a draft.
    ///
    /// # Errors
    /// [`Error::Io`].
    pub fn save_draft(&self, role: &str, envelope: &Envelope) -> Result<()> {
        files::write_durably(&*self.files, &self.layout.draft(role), &envelope.to_bytes())
    }

    /// The root that will hold once all drafts are published.
    ///
    /// # Errors
    /// [`Error::Damaged`] when there is neither a published root nor a draft.
    pub fn coming_root(&self) -> Result<Root> {
        let published = self
            .published
            .root
            .as_ref()
            .map(|role| role.document.clone());
        self.draft_of("root")?
            .or(published)
            .ok_or_else(|| Error::damaged("root", "neither published nor drafted"))
    }

    /// A targets role as it will be once all drafts are published.
    ///
    /// # Errors
    /// [`Error::Damaged`] when it is neither published nor drafted.
    pub fn coming_targets(&self, role: &str) -> Result<Targets> {
        let published = self
            .published
            .targets
            .get(role)
            .map(|role| role.document.clone());
        self.draft_of(role)?
            .or(published)
            .ok_or_else(|| Error::damaged(role, "neither published nor drafted"))
    }

    /// The delegations that will hold once all drafts are published.
    ///
    /// # Errors
    /// As [`Repository::coming_targets`].
    pub fn coming_delegations(&self) -> Result<Delegations> {
        let delegations = self.coming_targets("targets")?.delegations;
        delegations.ok_or_else(|| Error::damaged("targets", "it delegates nothing"))
    }

    /// The names of all channels.
    ///
    /// # Errors
    /// As [`Repository::coming_targets`].
    pub fn channels(&self) -> Result<Vec<String>> {
        let delegations = self.coming_delegations()?;
        Ok(delegations
            .roles
            .iter()
            .filter_map(|role| role.name.strip_prefix("channel-").map(str::to_owned))
            .collect())
    }

    /// The role of a channel that must exist.
    ///
    /// # Errors
    /// [`Error::ChannelUnknown`] with those there are.
    pub fn role_of_channel(&self, channel: &str) -> Result<String> {
        let channels = self.channels()?;
        match channels.iter().any(|known| known == channel) {
            true => Ok(channel_role(channel)),
            false => Err(Error::ChannelUnknown {
                channel: channel.into(),
                known: channels.join(", "),
            }),
        }
    }

    /// Edits a targets role: starts from its draft or else from what is published, and writes the
    /// draft of the next version without signatures, since its content has changed.
    ///
    /// # Errors
    /// What `edit` refuses; [`Error::Damaged`], [`Error::Io`].
    pub fn edit_targets(
        &self,
        role: &str,
        now: UnixTime,
        edit: impl FnOnce(&mut Targets) -> Result<()>,
    ) -> Result<()> {
        let mut targets = self.coming_targets(role)?;
        edit(&mut targets)?;
        targets.version = self.next_version(role)?;
        targets.expires = now.plus(self.settings.expiry.of(role));
        self.save_draft(role, &Envelope::new(&targets))
    }

    /// Edits the root in the same way.
    ///
    /// # Errors
    /// As [`Repository::edit_targets`].
    pub fn edit_root(
        &self,
        now: UnixTime,
        edit: impl FnOnce(&mut Root) -> Result<()>,
    ) -> Result<()> {
        let mut root = self.coming_root()?;
        edit(&mut root)?;
        // Exactly the next one: clients walk root versions without gaps.
        root.version = self.published.version("root") + 1;
        root.expires = now.plus(self.settings.expiry.root);
        self.save_draft("root", &Envelope::new(&root))
    }

    /// Drafts a role as it is, with a new expiry.
    ///
    /// # Errors
    /// [`Error::Argument`] for snapshot and timestamp, which `refresh` renews; as
    /// [`Repository::edit_targets`].
    pub fn renew(&self, role: &str, now: UnixTime) -> Result<()> {
        match role {
            "root" => self.edit_root(now, |_| Ok(())),
            "snapshot" | "timestamp" => Err(Error::argument(
                format!("role {role}"),
                "it is never drafted; `refresh` signs it again",
            )),
            role => self.edit_targets(role, now, |_| Ok(())),
        }
    }

    /// The version that the next file of a role gets.
    ///
    /// # Errors
    /// [`Error::Io`].
    pub fn next_version(&self, role: &str) -> Result<u64> {
        let on_disk = highest_version_on_disk(&self.layout, role)?;
        Ok(self.published.version(role).max(on_disk) + 1)
    }

    fn load_names(&mut self) -> Result<()> {
        let dir = self.layout.public_keys();
        for file in files::list(&dir)? {
            let Some(name) = file.strip_suffix(".pub") else {
                continue;
            };
            let path = dir.join(&file);
            let bytes = files::read(&path)?;
            let key = std::str::from_utf8(&bytes)
                .ok()
                .and_then(PublicKey::from_pem);
            let key = key.ok_or_else(|| {
                Error::damaged(path.display().to_string(), "no public key in PEM")
            })?;
            self.names.insert(key.id(), name.to_owned());
        }
        Ok(())
    }
}

/// The lock is the kernel's (flock), not the file's existence: a process that was killed leaves none.
fn take_lock(layout: &Layout) -> Result<File> {
    let path = layout.lock();
    let failed = |cause| Error::io("open", &path, cause);
    let file = OpenOptions::new()
        .create(true)
        .truncate(false)
        .write(true)
        .open(&path)
        .map_err(failed)?;
    match file.try_lock() {
        Ok(()) => Ok(file),
        Err(TryLockError::WouldBlock) => Err(Error::RepositoryLocked(layout.dir().to_owned())),
        Err(TryLockError::Error(cause)) => Err(Error::io("lock", &path, cause)),
    }
}
