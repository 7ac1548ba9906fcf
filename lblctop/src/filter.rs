// SPDX-License-Identifier: GPL-2.0

//! A text that filters a list, and the line in which it is typed.

use ratatui::crossterm::event::{KeyCode, KeyEvent, KeyModifiers};

/// What is listed has this text in it, capitals or not. Nothing is left out if it is empty.
#[derive(Clone, Debug)]
pub(crate) struct Filter {
    text: String,
    typing: bool,
}

impl Filter {
    /// Takes everything.
    pub(crate) const fn new() -> Self {
        Self {
            text: String::new(),
            typing: false,
        }
    }

    /// Whether keys are typed into it.
    pub(crate) fn is_open(&self) -> bool {
        self.typing
    }

    pub(crate) fn open(&mut self) {
        self.typing = true;
    }

    /// Takes a key that is typed: Enter keeps the text, Esc clears it.
    pub(crate) fn press(&mut self, key: KeyEvent) {
        match key.code {
            KeyCode::Enter => self.typing = false,
            KeyCode::Esc => *self = Self::new(),
            KeyCode::Backspace => {
                self.text.pop();
            }
            KeyCode::Char('u') if key.modifiers.contains(KeyModifiers::CONTROL) => {
                self.text.clear();
            }
            KeyCode::Char(it) if (key.modifiers - KeyModifiers::SHIFT).is_empty() => {
                self.text.push(it);
            }
            _ => {}
        }
    }

    /// Whether one of these texts has it in it.
    pub(crate) fn takes<'a>(&self, texts: impl IntoIterator<Item = &'a str>) -> bool {
        let wanted = self.text.to_lowercase();
        let mut texts = texts.into_iter();
        wanted.is_empty() || texts.any(|it| it.to_lowercase().contains(&wanted))
    }

    /// The line in which it is typed.
    pub(crate) fn prompt(&self) -> Option<String> {
        let text = &self.text;
        self.typing
            .then(|| format!(" /{text}_   Enter keep   Esc clear"))
    }

    /// The note on it in the first line, which is empty if the filter is.
    pub(crate) fn note(&self) -> String {
        match self.text.as_str() {
            "" => String::new(),
            text => format!(", with \"{text}\" only"),
        }
    }
}
