//! The actor that looks at the health board and publishes the mode.
//!
//! It keeps nothing: what it last published stands in the [`ModeHandle`], which outlives it.

use super::{board::Look, handle::ModeHandle};
use crate::{
    shell::{Behavior, Cx, Failure, Start},
    supervision::{ChildSpec, Handle},
};

/// The mode manager.
pub struct ModeManager {
    mode: ModeHandle,
}

impl ModeManager {
    /// Its place in the tree, and its address.
    pub fn spec(mode: ModeHandle) -> (ChildSpec, Handle<Look>) {
        ChildSpec::new("root/mode", move |_| Self { mode: mode.clone() })
    }

    fn look(&self, cx: &Cx<Look>) {
        self.mode.publish(&cx.commons().health.look(), cx.commons());
    }
}

impl Behavior for ModeManager {
    type Msg = Look;

    async fn started(&mut self, cx: &Cx<Look>) -> Result<Start, Failure> {
        self.look(cx);
        Ok(Start::Ready)
    }

    async fn handle(&mut self, _: Look, cx: &Cx<Look>) -> Result<(), Failure> {
        self.look(cx);
        Ok(())
    }
}
