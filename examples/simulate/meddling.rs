//! What goes wrong while the system plays, what operators do, and how all is set right again.

use std::{ops::Range, time::Duration};

use mainstay::{
    ErrorKind,
    actors::{
        provider::ProviderDesk,
        supervision::{Handle, Restart},
        testing::{Act, Broken},
    },
};

use crate::{
    RECOVERY,
    cast::{MODELS, NAMES},
    circuits::Pardon,
    stage::{Stage, WORKERS, spec},
    workers::{Place, Trouble},
};

impl Stage {
    pub(crate) async fn pause(&mut self) {
        let pause = self.millis(self.pace.clone());
        tokio::time::sleep(pause).await;
    }

    /// One thing goes wrong, or is set right again.
    pub(crate) async fn meddle(&mut self) -> Result<(), String> {
        if self.outage.is_some_and(|(until, _)| self.now() >= until) {
            self.find_the_network();
        }
        let worker = self.chance.usize(0..WORKERS);
        match self.chance.u8(0..20) {
            0..=3 => self.miscast(),
            4 => self.desk().into_iter().for_each(|desk| desk.actor().crash()),
            5 => self.system().commons().health.manager().into_iter().for_each(Handle::crash),
            6 => self.workers[worker].crash(),
            7..=10 => self.vex(),
            11 => self.children.supervisor().crash(),
            12 => self.audience.invite_one_that_panics(self.tree.system(), self.chance.u8(0..5)).await,
            13 | 14 => self.order(),
            15 => self.lose_the_network(),
            16 | 17 => return self.reload(false).await,
            _ => self.operate(worker),
        }
        Ok(())
    }

    /// A model of a provider does something else from now on, or is slower.
    fn miscast(&mut self) {
        let (act, model) = (self.act(), self.chance.usize(0..MODELS.len()));
        let (delay, pace) = (self.millis(0..3000), self.millis(0..500));
        let slower = self.chance.u8(0..4) == 0;
        let players: Vec<_> = self.players().cloned().collect();
        let Some(player) = self.chance.choice(players) else { return };
        match (slower, self.outage) {
            (true, _) => player.model(model).takes(delay, pace),
            (false, None) => player.model(model).set(act),
            // Nobody answers through a network that is lost.
            (false, Some(_)) => {}
        }
    }

    /// From now on, and for a while, no provider can be reached, nor anything else.
    fn lose_the_network(&mut self) {
        let silent =
            [ErrorKind::Connect, ErrorKind::ConnectTimeout, ErrorKind::Reset, ErrorKind::IdleTimeout];
        let act = match self.chance.usize(0..=silent.len()) {
            n if n == silent.len() => Act::Hang,
            n => Act::Fail(silent[n]),
        };
        let (time, delay) = (self.millis(5_000..60_000), self.millis(0..3000));
        self.network.set_down(true);
        self.network.takes(delay);
        self.players().for_each(|player| player.set(act));
        self.outage = Some((self.now() + time, act));
        let from = self.unix_ms();
        self.pardons.push(Pardon { provider: None, from, until: u64::MAX });
    }

    fn find_the_network(&mut self) {
        if self.outage.take().is_some() {
            self.network.set_down(false);
            self.players().for_each(|player| player.set(Act::Answer));
            let now = self.unix_ms();
            let lost = self.pardons.iter_mut().filter(|pardon| pardon.until == u64::MAX);
            // What was looked at before may still be told.
            lost.for_each(|pardon| pardon.until = now + 10_000);
        }
    }

    fn act(&mut self) -> Act {
        let broken =
            [Broken::Ends, Broken::Fails(ErrorKind::Reset), Broken::Hangs, Broken::Panics, Broken::Pings];
        let failing =
            [ErrorKind::ServerError, ErrorKind::RateLimited, ErrorKind::BadRequest, ErrorKind::Auth];
        let wait = self.millis(1_000..120_000);
        match self.chance.u8(0..6) {
            0 => Act::Answer,
            1 => Act::Fail(failing[self.chance.usize(0..failing.len())]),
            2 => Act::Panic,
            3 => Act::Hang,
            4 => Act::Defer([ErrorKind::RateLimited, ErrorKind::Overloaded][self.chance.usize(0..2)], wait),
            _ => Act::Break(self.chance.usize(0..6), broken[self.chance.usize(0..broken.len())]),
        }
    }

    pub(crate) fn millis(&mut self, range: Range<u64>) -> Duration {
        Duration::from_millis(self.chance.u64(range))
    }

    /// Somewhere in the lives of a worker something goes wrong from now on, or nothing does any more.
    fn vex(&mut self) {
        let mood = self.moods[self.chance.usize(0..self.moods.len())].clone();
        let place = Place::ALL[self.chance.usize(0..Place::ALL.len())];
        let trouble = Trouble::ALL[self.chance.usize(0..Trouble::ALL.len())];
        if self.chance.bool() { mood.set(place, trouble) } else { mood.heal() }
    }

    /// An operator takes a provider out, for a time or until it is let in again.
    fn order(&mut self) {
        let Some(desk) = self.desk() else { return };
        let time = self.millis(1..60_000);
        match self.chance.u8(0..3) {
            0 => desk.isolate(None, "taken out by hand"),
            1 => desk.isolate(Some(time), "taken out for a while"),
            _ => self.close(&desk),
        }
    }

    fn close(&mut self, desk: &ProviderDesk) {
        desk.close();
        let (now, provider) = (self.unix_ms(), NAMES.into_iter().find(|name| *name == &**desk.name()));
        self.pardons.push(Pardon { provider, from: now, until: now + 1 });
    }

    /// An operator's wish; a refusal is fine, others meddle too.
    fn operate(&mut self, worker: usize) {
        let (children, wish, name) = (self.children.clone(), self.chance.u8(0..5), worker.to_string());
        let mood = self.moods[WORKERS].clone();
        self.system().commons().tasks.spawn(async move {
            let _ = match wish {
                0 | 1 => children.restart(&name).await,
                2 | 3 => children.terminate(&name).await,
                _ => children.start(spec("temp", &mood).0.restart(Restart::Temporary)).await,
            };
        });
    }

    /// Nothing is wrong any more, and what an operator ended is wanted again.
    pub(crate) async fn heal(&mut self) -> Result<(), String> {
        self.find_the_network();
        self.players().for_each(|player| player.heal());
        self.moods.iter().for_each(|mood| mood.heal());
        tokio::time::sleep(RECOVERY / 2).await;
        for worker in 0..WORKERS {
            let _ = self.children.restart(&worker.to_string()).await;
        }
        for desk in self.system().providers().collect::<Vec<_>>() {
            // Left to itself it comes back after a quarter of an hour at the latest, or never if an operator says so.
            if desk.status(self.now()).circuit == "isolated" {
                self.close(&desk);
            }
        }
        self.reload(true).await
    }
}
