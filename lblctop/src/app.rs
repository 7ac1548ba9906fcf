// SPDX-License-Identifier: GPL-2.0

//! The program on a terminal: one thread reads the files, this one draws and listens to keys.

use crate::{
    figures::{has_colors, span, Ink},
    filter::Filter,
    model::{latest, DestinationOrder, Order, View},
    options::Options,
    screen::{self, Shown},
    source::{Source, Trouble, Wanted},
};
use ratatui::{
    crossterm::{
        event::{self, Event, KeyCode, KeyEvent, KeyEventKind, KeyModifiers},
        execute,
        terminal::{self, EnterAlternateScreen},
    },
    layout::Rect,
    DefaultTerminal, TerminalOptions, Viewport,
};
use signal_hook::{consts, flag};
use std::{
    env,
    io::{self, IsTerminal},
    sync::{
        atomic::{AtomicBool, Ordering},
        mpsc::{self, Receiver},
        Arc,
    },
    thread,
    time::Duration,
};

/// The time after which a signal, or a new reading, is noticed at the latest.
const GLANCE: Duration = Duration::from_millis(100);

type Read = Result<View, Trouble>;

/// Runs until a key or a signal ends it. Reads once before it changes the terminal, so that an
/// error is an ordinary line of text.
pub(crate) fn run(mut source: Source, options: &Options) -> Result<(), Trouble> {
    let view = source.read()?.some()?;
    let chosen = options.find(&view)?;
    let name = options
        .names_one()
        .then(|| view.services.get(chosen).map(|it| it.name.clone()));
    let name = name.flatten();
    if !io::stdout().is_terminal() {
        return Err(Trouble::NoTerminal);
    }
    if env::var("TERM").is_ok_and(|it| it == "dumb") {
        return Err(Trouble::DumbTerminal);
    }
    let stop = Arc::new(AtomicBool::new(false));
    for signal in [consts::SIGTERM, consts::SIGHUP, consts::SIGINT] {
        flag::register(signal, Arc::clone(&stop)).map_err(Trouble::Output)?;
    }
    let interval = options.interval();
    let mut app = App {
        all: view.clone(),
        view,
        name,
        scroll: 0,
        by_misses: false,
        order: Order::default(),
        destination_order: DestinationOrder::default(),
        services: Filter::new(),
        places: Filter::new(),
        destinations: false,
        wanted: source.wanted(),
        help: false,
        interval,
        ink: Ink::of_locale(),
        colors: has_colors(),
        trouble: None,
    };
    let views = read_on(source, interval);
    let terminal = init().map_err(Trouble::Output)?;
    let result = app.show(terminal, &views, &stop);
    let restored = ratatui::try_restore();
    result.and(restored).map_err(Trouble::Output)
}

/// Takes the terminal over, in its size, or in the usual one if that is 0.
fn init() -> io::Result<DefaultTerminal> {
    if !matches!(terminal::size(), Ok((0, _) | (_, 0))) {
        return ratatui::try_init();
    }
    let (width, height) = screen::USUAL;
    let viewport = Viewport::Fixed(Rect::new(0, 0, width, height));
    let mut terminal = ratatui::try_init_with_options(TerminalOptions { viewport })?;
    execute!(io::stdout(), EnterAlternateScreen)?;
    terminal.clear()?;
    Ok(terminal)
}

/// Reads again and again, in a thread of its own: a long table does not keep the keys waiting.
fn read_on(mut source: Source, interval: Duration) -> Receiver<Read> {
    let (sender, receiver) = mpsc::sync_channel(1);
    thread::spawn(move || {
        thread::sleep(interval);
        while sender.send(source.read()).is_ok() {
            thread::sleep(interval);
        }
    });
    receiver
}

/// The state of the screen.
struct App {
    /// The last reading, and the part of it that is listed.
    all: View,
    view: View,
    /// The service that was chosen, as its place may change; before that, the first one is shown.
    name: Option<String>,
    scroll: usize,
    by_misses: bool,
    order: Order,
    destination_order: DestinationOrder,
    /// Which services are listed, and which destinations.
    services: Filter,
    places: Filter,
    destinations: bool,
    wanted: Wanted,
    help: bool,
    interval: Duration,
    ink: Ink,
    colors: bool,
    trouble: Option<String>,
}

impl App {
    fn show(
        &mut self,
        mut terminal: DefaultTerminal,
        views: &Receiver<Read>,
        stop: &AtomicBool,
    ) -> io::Result<()> {
        while !stop.load(Ordering::Relaxed) {
            self.want();
            terminal.draw(|frame| {
                screen::draw(&self.shown(), frame.buffer_mut());
                if !self.colors {
                    screen::without_colors(frame.buffer_mut());
                }
            })?;
            // Sleeps until there is something new to draw.
            loop {
                let mut changed = false;
                while let Ok(read) = views.try_recv() {
                    self.take(read);
                    changed = true;
                }
                if changed || stop.load(Ordering::Relaxed) {
                    break;
                }
                if event::poll(GLANCE)? {
                    if let Event::Key(key) = event::read()? {
                        if self.press(key) {
                            return Ok(());
                        }
                    }
                    break;
                }
            }
        }
        Ok(())
    }

    fn shown(&self) -> Shown<'_> {
        let order = if self.by_misses {
            ", most misses first"
        } else {
            ""
        };
        Shown {
            view: &self.view,
            chosen: self.place(),
            scroll: self.scroll,
            order: self.order,
            ink: self.ink,
            note: format!(
                "every {}{order}{}",
                span(self.interval),
                self.services.note()
            ),
            trouble: self.trouble.clone(),
            keys: true,
            prompt: self.filter().prompt(),
            filtered: !self.services.note().is_empty(),
            destinations: self.destinations,
            destination_order: self.destination_order,
            places: &self.places,
            help: self.help,
        }
    }

    /// Takes over a reading. If reading failed, the old contents stay, with the reason below them.
    fn take(&mut self, read: Read) {
        self.trouble = None;
        match read {
            Ok(view) => self.all = view,
            Err(trouble) => self.trouble = Some(trouble.to_string()),
        }
        self.list();
    }

    /// The filter of the list that is shown.
    fn filter(&self) -> &Filter {
        match self.destinations {
            true => &self.places,
            false => &self.services,
        }
    }

    fn filter_mut(&mut self) -> &mut Filter {
        match self.destinations {
            true => &mut self.places,
            false => &mut self.services,
        }
    }

    /// Lists the services that the filter takes.
    fn list(&mut self) {
        self.view = self.all.clone();
        let filter = &self.services;
        self.view.services.retain(|it| filter.takes([&*it.name]));
        self.sort();
    }

    fn sort(&mut self) {
        if self.by_misses {
            self.view.sort_by_misses();
        } else {
            self.view.sort_by_calls();
        }
    }

    /// The place of the chosen service; the first one is chosen if it does not exist any more.
    fn place(&self) -> usize {
        let mut services = self.view.services.iter();
        let chosen = self
            .name
            .as_ref()
            .and_then(|name| services.position(|it| it.name == *name));
        chosen.unwrap_or(0)
    }

    /// Tells the thread that reads which service's destinations are shown, if they are.
    fn want(&self) {
        let shown = self.view.services.get(self.place());
        let shown = shown.filter(|_| self.destinations);
        self.wanted.set(shown.map(|it| it.name.clone()));
    }

    /// Handles a key; returns whether the program should end.
    fn press(&mut self, key: KeyEvent) -> bool {
        if key.kind == KeyEventKind::Release {
            return false;
        }
        let ends = matches!(key.code, KeyCode::Char('c')) && key.modifiers == KeyModifiers::CONTROL;
        if self.filter().is_open() && !ends {
            self.filter_mut().press(key);
            self.scroll = 0;
            self.list();
            return false;
        }
        let help = std::mem::take(&mut self.help);
        let place = self.place();
        let last = self.view.services.len().saturating_sub(1);
        match key.code {
            KeyCode::Char('c' | 'd') if key.modifiers.contains(KeyModifiers::CONTROL) => {
                return true
            }
            _ if help => {}
            KeyCode::Char('q') | KeyCode::Esc => return true,
            KeyCode::Char('h' | '?') => self.help = true,
            KeyCode::Char('d') => {
                self.destinations = !self.destinations;
                self.scroll = 0;
            }
            KeyCode::Char('/') => self.filter_mut().open(),
            KeyCode::Char('s') if self.destinations => {
                self.destination_order = self.destination_order.next();
                self.scroll = 0;
            }
            KeyCode::Char('s') => self.order = self.order.next(),
            KeyCode::Up | KeyCode::Char('k') => self.choose(place.saturating_sub(1)),
            KeyCode::Down | KeyCode::Char('j') => self.choose((place + 1).min(last)),
            KeyCode::Home | KeyCode::Char('g') => self.choose(0),
            KeyCode::End | KeyCode::Char('G') => self.choose(last),
            KeyCode::PageUp => self.scroll = self.scroll.saturating_sub(5),
            KeyCode::PageDown => {
                let service = self.view.services.get(place);
                let rows = service.map_or(0, |it| match self.destinations {
                    true => latest(it, &self.places, self.destination_order).len(),
                    false => it.servers.len(),
                });
                self.scroll = (self.scroll + 5).min(rows.saturating_sub(1));
            }
            KeyCode::Char('o') => {
                self.by_misses = !self.by_misses;
                self.sort();
            }
            _ => {}
        }
        false
    }

    fn choose(&mut self, place: usize) {
        if let Some(service) = self.view.services.get(place) {
            self.name = Some(service.name.clone());
            self.scroll = 0;
        }
    }
}
