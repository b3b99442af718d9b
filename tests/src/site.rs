//! [`Site`]: an account, a store, and one good snapshot that nothing may harm.

use crate::{Fingerprint, Login, Ran, Tool};
use std::{
    fs,
    os::unix::fs::PermissionsExt,
    path::{Path, PathBuf},
};
use tempfile::TempDir;

/// A site with one good snapshot, and what that snapshot looked like.
#[derive(Debug)]
#[allow(clippy::exhaustive_structs)]
pub struct Site {
    _dir: TempDir,
    /// The account's folder.
    pub tree: PathBuf,
    /// The store's folder.
    pub store: PathBuf,
    /// The tool with that store.
    pub tool: Tool,
    good: Option<(PathBuf, Fingerprint)>,
}

impl Site {
    /// A small tree that anybody may read, not backed up yet.
    ///
    /// # Panics
    /// When the disk fails.
    #[must_use]
    pub fn new() -> Self {
        let dir = tempfile::Builder::new().prefix("clonepanel-bad").tempdir().unwrap();
        fs::set_permissions(dir.path(), fs::Permissions::from_mode(0o755)).unwrap();
        let tree = dir.path().join("account");
        for name in ["public_html/index.php", "public_html/wp/config.php", "mail/cur/1"] {
            fs::create_dir_all(tree.join(name).parent().unwrap()).unwrap();
            fs::write(tree.join(name), name.repeat(50)).unwrap();
        }
        let store = dir.path().join("store");
        let tool = Tool::with_store(&store);
        Self { _dir: dir, tree, store, tool, good: None }
    }

    /// Takes the good snapshot by way of this login.
    ///
    /// # Panics
    /// When that does not work.
    #[must_use]
    pub fn backed_up_over(mut self, login: &Login) -> Self {
        self.over_ssh(login).assert(0, &[]);
        let snapshot = self.tool.snapshots().pop().expect("a snapshot");
        let fingerprint = Fingerprint::of(&snapshot);
        assert!(fingerprint.len() > 5);
        self.good = Some((snapshot, fingerprint));
        fs::write(self.tree.join("public_html/new.php"), "new since the good snapshot").unwrap();
        self
    }

    /// A backup by way of this login.
    #[must_use]
    pub fn over_ssh(&self, login: &Login) -> Ran {
        Ran::of(&mut self.tool.back_up_over_ssh(login, &self.tree))
    }

    /// Nothing was added, the good snapshot is as it was, and a run over `login` works unaided.
    ///
    /// # Panics
    /// When it is otherwise.
    pub fn assert_unharmed_and_next_run_works(&self, login: &Login) {
        let (snapshot, before) = self.good.as_ref().expect("a good snapshot");
        assert_eq!(self.tool.snapshots(), std::slice::from_ref(snapshot), "a failed run left a snapshot");
        self.assert_good_is_as_it_was();
        self.over_ssh(login).assert(0, &[]);
        self.assert_good_is_as_it_was();
        let newest = self.tool.snapshots().pop().expect("a snapshot");
        assert_ne!(&newest, snapshot);
        assert!(newest.join("files/public_html/new.php").exists());
        self.tool.assert_verifies();
        assert_eq!(before.changes(&Fingerprint::of(snapshot)), Vec::<String>::new());
    }

    /// The good snapshot is as it was.
    ///
    /// # Panics
    /// When it is not.
    pub fn assert_good_is_as_it_was(&self) {
        let (snapshot, before) = self.good.as_ref().expect("a good snapshot");
        assert_eq!(before.changes(&Fingerprint::of(snapshot)), Vec::<String>::new());
    }

    /// The folder of the good snapshot.
    ///
    /// # Panics
    /// When there is none.
    #[must_use]
    pub fn good(&self) -> &Path {
        &self.good.as_ref().expect("a good snapshot").0
    }
}

impl Default for Site {
    fn default() -> Self {
        Self::new()
    }
}
