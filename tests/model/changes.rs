//! Registering, changing, unregistering and rebuilding, while system calls may fail.

use std::io;
use std::sync::Arc;

use polyselect::{Backend, Interest, Ready, Watch};

use super::program::{Outcome, PLACES, Registered, Run, Sel, Standing};
use super::subject::{Kind, Number, Subject};

/// Whether a backend supports the modes of a watch.
fn can(backend: Backend, watch: Watch) -> bool {
    let capabilities = backend.capabilities();
    (!watch.is_edge() || capabilities.edge)
        && (!watch.interest().contains(Interest::PRIORITY) || capabilities.priority)
}

impl Run<'_> {
    /// An edge occurred.
    pub fn due(&mut self, place: usize, ready: Ready) {
        if let Some(registered) = &mut self.registered[place] {
            registered.due |= ready;
        }
    }

    fn truth(&self, place: usize, watch: Watch) -> Ready {
        self.subjects[place].truth(watch.interest(), self.hang_up())
    }

    pub fn register(&mut self, place: usize, watch: Watch) -> Outcome {
        let source = Arc::clone(self.subjects[place].source());
        let taken = self.registered[place].is_some();
        let able = can(self.selector.backend(), watch);
        let (result, failed) =
            self.library("register", |selector| selector.register(source, watch, place))?;
        match result {
            Ok(_) if taken => return Err("registered twice".into()),
            Ok(_) if !able => return Err("accepted a mode without the capability".into()),
            Ok(key) => {
                self.registered[place] = Some(Registered {
                    key,
                    watch,
                    armed: true,
                    due: self.truth(place, watch),
                    standing: Standing::Sound,
                    superseded: false,
                    changed: false,
                    passed_over: 0,
                });
            }
            Err(error) => match error.error().kind() {
                io::ErrorKind::AlreadyExists if taken => {}
                io::ErrorKind::Unsupported if !able && !taken => {}
                _ if failed && !taken => {}
                _ => return Err(error.to_string()),
            },
        }
        let source = &**self.subjects[place].source();
        if self.selector.key_of(&source).is_some() != self.registered[place].is_some() {
            return Err("an error of `register` leaves a registration, or none is left".into());
        }
        self.check_len()
    }

    fn check_len(&self) -> Outcome {
        let (len, expected) = (self.selector.len(), self.registered.iter().flatten().count());
        if len == expected { Ok(()) } else { Err(format!("{len} registrations of {expected}")) }
    }

    pub fn modify(&mut self, place: usize, interest: Interest) -> Outcome {
        let Some(Registered { key, watch, .. }) = self.registered[place] else { return Ok(()) };
        // The mode stays; `Watch` cannot express a change of it alone.
        let mut changed = Watch::from(interest);
        changed = if watch.is_edge() { changed.edge() } else { changed };
        changed = if watch.is_oneshot() { changed.oneshot() } else { changed };
        let able = can(self.selector.backend(), changed);
        let (result, failed) = self.library("modify", |selector| selector.modify(key, interest))?;
        match result {
            Ok(()) if !able => Err("accepted a mode without the capability".into()),
            Err(error) if !able && error.kind() == io::ErrorKind::Unsupported => Ok(()),
            result => self.after_change(place, changed, result, failed),
        }
    }

    pub fn set_watch(&mut self, place: usize, watch: Watch) -> Outcome {
        let Some(Registered { key, .. }) = self.registered[place] else { return Ok(()) };
        let able = can(self.selector.backend(), watch);
        let (result, failed) =
            self.library("set_watch", |selector| selector.set_watch(key, watch))?;
        match result {
            Ok(()) if !able => Err("accepted a mode without the capability".into()),
            Err(error) if !able && error.kind() == io::ErrorKind::Unsupported => Ok(()),
            result => self.after_change(place, watch, result, failed),
        }
    }

    fn after_change(
        &mut self,
        place: usize,
        watch: Watch,
        result: io::Result<()>,
        failed: bool,
    ) -> Outcome {
        match result {
            Err(_) if failed => return Ok(()),
            Err(error) => return Err(error.to_string()),
            Ok(()) => {}
        }
        let truth = self.truth(place, watch);
        let registered = self.registered[place].as_mut().expect("checked by the caller");
        registered.change(watch, truth, failed);
        let found = self.selector[registered.key].watch();
        if found == watch { Ok(()) } else { Err(format!("{found:?} instead of {watch:?}")) }
    }

    pub fn unregister(&mut self, place: usize) -> Outcome {
        let Some(Registered { key, .. }) = self.registered[place].take() else { return Ok(()) };
        let (result, _) = self.library("unregister", |selector| selector.unregister(key))?;
        // Whatever failed, the source is returned.
        let registration = result.map_err(|error| format!("keeps the source: {error}"))?;
        let (_, data) = registration.into_parts();
        if data != place {
            return Err(format!("gave back {data} instead of {place}"));
        }
        if self.selector.unregister(key).is_ok() {
            return Err("unregistered twice".into());
        }
        self.check_len()
    }

    /// Unregisters and drops a subject, and replaces it by another.
    fn exchange(&mut self, place: usize, new: Subject) -> Result<Number, String> {
        self.unregister(place)?;
        let old = std::mem::replace(&mut self.subjects[place], new);
        let number = old.number();
        old.release(self.time_to_release()?)?;
        Ok(number)
    }

    pub fn replace(&mut self, place: usize, kind: Kind) -> Outcome {
        let number = self.exchange(place, Subject::new(kind))?;
        self.subjects[place].move_to(number);
        Ok(())
    }

    /// Makes strangers ready, so that one that is watched is reported.
    pub fn estrange(&mut self, place: usize) -> Outcome {
        const MOST: usize = 6;

        let mut stranger = Subject::new(Kind::Stream);
        stranger.send(1);
        let number = self.exchange(place, Subject::new(Kind::Stream))?;
        stranger.move_to(number);
        if let Some(injector) = self.setting.injector {
            injector.add_stranger(stranger.number());
        }
        self.strangers.push(stranger);
        if self.strangers.len() > MOST { self.release_stranger() } else { Ok(()) }
    }

    /// Closes the oldest stranger, which no backend may watch.
    pub fn release_stranger(&mut self) -> Outcome {
        let stranger = self.strangers.remove(0);
        if let Some(injector) = self.setting.injector {
            injector.remove_stranger(stranger.number());
        }
        let released = stranger.release(self.time_to_release()?);
        released.map_err(|wrong| format!("a stranger that was never registered: {wrong}"))
    }

    pub fn rebuild(&mut self, backend: Backend) -> Outcome {
        let able = self.registered.iter().flatten().all(|it| can(backend, it.watch));
        let before = self.selector.backend();
        let (result, failed) =
            self.library("rebuild", |selector| selector.rebuild_with(backend))?;
        match result {
            Ok(()) if !able => {
                return Err(format!("{backend} accepted a mode without the capability"));
            }
            Ok(()) => {}
            Err(_) if self.selector.backend() != before => {
                return Err("an error of `rebuild_with` leaves another backend".into());
            }
            Err(error) if !able && error.kind() == io::ErrorKind::Unsupported => return Ok(()),
            Err(_) if failed => return Ok(()),
            Err(error) => return Err(error.to_string()),
        }
        for place in 0..PLACES {
            let Some(Registered { watch, .. }) = self.registered[place] else { continue };
            let truth = self.truth(place, watch);
            let registered = self.registered[place].as_mut().expect("it is there");
            (registered.due, registered.changed) = (truth, false);
            if registered.standing == Standing::Unsure {
                registered.standing = Standing::Free;
            }
        }
        self.nest_after_rebuild()
    }

    pub fn wake(&mut self) -> Outcome {
        let (waker, failed) = self.library("waker", Sel::waker)?;
        let waker = match waker {
            Err(_) if failed && !self.has_waker => return Ok(()),
            waker => waker.map_err(|error| format!("no waker: {error}"))?,
        };
        self.has_waker = true;
        match self.library("wake", |_| waker.wake())? {
            (Ok(()), _) => self.woken = true,
            (Err(_), true) => {}
            (Err(error), false) => return Err(format!("not woken: {error}")),
        }
        Ok(())
    }
}
