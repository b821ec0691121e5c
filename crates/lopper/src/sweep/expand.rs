//! From axes and groups to cells: each one a configuration of its own.

use super::grammar::{Axis, Exclusion, Grammar, Group};
use super::values::{Axes, filled_in, part_of_name, same, text};
use crate::config;
use lopper_core::Error;
use std::collections::{BTreeMap, BTreeSet};
use toml::{Table, Value};

/// Most cells of a sweep: more are a mistake.
const MOST_CELLS: usize = 100_000;
/// The one key of a value that stands for another cell's mask.
const MASK_OF: &str = "mask_of";
/// Among the axes of `mask_of`, what names a group.
const GROUP: &str = "group";

/// One run of a sweep.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Cell {
    /// Its name, and that of its directory.
    pub(crate) name: String,
    /// The group that it belongs to; without a name where the sweep has none.
    pub(crate) group: Option<String>,
    /// Its value on every axis.
    pub(crate) axes: Axes,
    /// Its configuration, without the masks of other cells.
    pub(crate) table: Table,
    /// Keys that are given the mask of another cell, by that cell's number.
    pub(crate) masks: Vec<(String, usize)>,
}

/// A key of a cell whose value is the mask of another cell, which is named by values of axes.
struct MaskOf {
    key: String,
    wanted: Table,
}

/// All cells, sources before those that take their masks, in the order of groups and axes else.
pub(super) fn expand(base: &Table, grammar: &Grammar, problems: &mut Vec<Error>) -> Vec<Cell> {
    let size = |group: &Group| {
        let axes = grammar.axes.iter().chain(&group.axes).map(|axis| axis.points.len());
        axes.fold(1usize, usize::saturating_mul)
    };
    let all = grammar.groups.iter().map(size).fold(0usize, usize::saturating_add);
    if all > MOST_CELLS {
        problems.push(Error::invalid("[sweep]", format!("{all} cells"), format!("at most {MOST_CELLS}")));
        return Vec::new();
    }
    let mut cells = Vec::new();
    let mut wanted = Vec::new();
    let mut excluded = vec![0usize; grammar.exclusions.len()];
    for group in &grammar.groups {
        // The seed varies fastest: what belongs together is done together.
        let axes: Vec<&Axis> =
            group.axes.iter().chain(grammar.axes.iter().skip(1)).chain(grammar.axes.first()).collect();
        for number in 0..size(group) {
            let (cell, masks) = cell(base, group, &axes, number, problems);
            match grammar.exclusions.iter().position(|exclusion| excludes(exclusion, &cell.axes)) {
                Some(index) => excluded[index] += 1,
                None => {
                    cells.push(cell);
                    wanted.push(masks);
                }
            }
        }
    }
    for (exclusion, number) in grammar.exclusions.iter().zip(excluded) {
        if number == 0 {
            let axes: Table = exclusion.iter().map(|(axis, values)| (axis.clone(), values.clone().into())).collect();
            problems.push(Error::invalid("[sweep] exclude", Value::Table(axes), "values that some cell has"));
        }
    }
    check_names(&cells, problems);
    let sources: Vec<Vec<(String, usize)>> = (0..cells.len())
        .map(|index| wanted[index].iter().filter_map(|mask| source(&cells, index, mask, problems)).collect())
        .collect();
    cells.iter_mut().zip(sources).for_each(|(cell, masks)| cell.masks = masks);
    in_order(cells, problems)
}

/// Cell `number` of a group.
fn cell(base: &Table, group: &Group, axes: &[&Axis], number: usize, problems: &mut Vec<Error>) -> (Cell, Vec<MaskOf>) {
    let mut rest = number;
    let mut points = Vec::new();
    for axis in axes.iter().rev() {
        points.push((&axis.name, &axis.points[rest % axis.points.len()]));
        rest /= axis.points.len();
    }
    points.reverse();
    let values: Axes = points.iter().map(|(axis, point)| ((*axis).clone(), point.value.clone())).collect();
    let parts = points.iter().map(|(axis, point)| part_of_name(axis, &point.value));
    let name = group.name.iter().map(|name| part_of_name(GROUP, &Value::from(name.as_str()))).chain(parts);
    let name = name.collect::<Vec<_>>().join("-");
    let mut masks = Vec::new();
    let sets: Vec<_> = group.sets.iter().chain(points.iter().flat_map(|(_, point)| &point.sets)).collect();
    let mut refuse = |error: Error| {
        // Alike in every cell of the group.
        if !problems.iter().any(|told| told.to_string() == error.to_string()) {
            problems.push(error);
        }
    };
    // What begins with a dollar is no key of the configuration: a value of the cell's that others are filled in with.
    let (variables, sets): (Vec<_>, Vec<_>) = sets.into_iter().partition(|(key, _)| key.starts_with('$'));
    let variables = variables.into_iter().map(|(name, value)| (name.trim_start_matches('$').to_owned(), value.clone()));
    let known: Axes = variables.chain(values.clone()).collect();
    let filled = |value: &Value, key: &str| {
        filled_in(value, &known).map_err(|axis| {
            let names = known.keys().cloned().collect::<Vec<_>>().join(", ");
            let expected = format!("there is no axis or variable `{axis}`; there are {names}");
            Error::invalid(format!("[sweep] {key}"), format!("${{{axis}}}"), expected)
        })
    };
    let mut table = Table::new();
    for (key, value) in base {
        match filled(value, key) {
            Ok(value) => drop(table.insert(key.clone(), value)),
            Err(error) => refuse(error),
        }
    }
    for (key, value) in &sets {
        let value = match filled(value, key) {
            Ok(value) => value,
            Err(error) => {
                refuse(error);
                continue;
            }
        };
        match mask_of(&value) {
            Some(Ok(wanted)) => masks.push(MaskOf { key: key.clone(), wanted: wanted.clone() }),
            Some(Err(other)) => {
                let expected = "a table of axes, such as { mask_of = { group = \"imp\", task = \"${source}\" } }";
                refuse(Error::invalid(format!("[sweep] {key}"), other, expected));
            }
            None => {
                let is_set = |other: &str| sets.iter().any(|(key, _)| key == other);
                if let Err(part) = config::put(&mut table, key, value.clone(), is_set) {
                    refuse(Error::invalid(format!("[sweep] {key}"), text(&value), format!("`{part}` is no table")));
                }
            }
        }
    }
    (Cell { name, group: group.name.clone(), axes: values, table, masks: Vec::new() }, masks)
}

/// What a value wants that stands for another cell's mask; what stands there instead when it is no table.
fn mask_of(value: &Value) -> Option<Result<&Table, &Value>> {
    let table = value.as_table().filter(|table| table.contains_key(MASK_OF))?;
    Some(match &table[MASK_OF] {
        Value::Table(wanted) if table.len() == 1 => Ok(wanted),
        _ => Err(value),
    })
}

fn excludes(exclusion: &Exclusion, axes: &Axes) -> bool {
    let has = |(axis, values): &(String, Vec<Value>)| {
        axes.get(axis).is_some_and(|value| values.iter().any(|excluded| same(excluded, value)))
    };
    exclusion.iter().all(has)
}

fn check_names(cells: &[Cell], problems: &mut Vec<Error>) {
    let mut seen: BTreeMap<String, &Cell> = BTreeMap::new();
    let mut twice = BTreeSet::new();
    for cell in cells {
        // Not every file system tells upper from lower case.
        if let Some(before) = seen.insert(cell.name.to_lowercase(), cell)
            && twice.insert(cell.name.to_lowercase())
        {
            let axes = |cell: &Cell| {
                let axes = cell.axes.iter().map(|(axis, value)| format!("{axis} = {value}"));
                cell.group.iter().map(|name| format!("group {name}")).chain(axes).collect::<Vec<_>>().join(", ")
            };
            let expected = format!(
                "names that differ: it would be that of {} and of {}; name the groups or the points",
                axes(before),
                axes(cell)
            );
            problems.push(Error::invalid("[sweep] cell", &cell.name, expected));
        }
    }
}

/// The one cell that is wanted. On an axis that is not named it has the value of the cell that asks, if that has the axis.
fn source(cells: &[Cell], index: usize, mask: &MaskOf, problems: &mut Vec<Error>) -> Option<(String, usize)> {
    let cell = &cells[index];
    let fits = |other: &Cell| {
        let group = mask.wanted.get(GROUP).is_none_or(|group| group.as_str() == other.group.as_deref());
        let mut named = mask.wanted.iter().filter(|(axis, _)| *axis != GROUP);
        let mut own = cell.axes.iter().filter(|(axis, _)| !mask.wanted.contains_key(*axis));
        group
            && named.all(|(axis, value)| other.axes.get(axis).is_some_and(|of| same(of, value)))
            && own.all(|(axis, value)| other.axes.get(axis).is_none_or(|of| same(of, value)))
    };
    let found: Vec<usize> = (0..cells.len()).filter(|other| *other != index && fits(&cells[*other])).collect();
    if let [only] = found[..] {
        return Some((mask.key.clone(), only));
    }
    let names = found.iter().take(3).map(|found| cells[*found].name.as_str()).collect::<Vec<_>>().join(", ");
    let found = match found.len() {
        0 => "no cell".to_owned(),
        number => format!("{number} cells, such as {names}"),
    };
    let expected = format!("the axes of one other cell; {} would have the mask of {found}", cell.name);
    let wanted: Table = [(MASK_OF.to_owned(), Value::Table(mask.wanted.clone()))].into_iter().collect();
    problems.push(Error::invalid(format!("[sweep] {}", mask.key), Value::Table(wanted), expected));
    None
}

/// The cells so that a mask's source stands before whoever takes it.
fn in_order(cells: Vec<Cell>, problems: &mut Vec<Error>) -> Vec<Cell> {
    let mut placed: Vec<Option<usize>> = vec![None; cells.len()];
    let mut order = Vec::new();
    loop {
        let before = order.len();
        for (index, cell) in cells.iter().enumerate() {
            if placed[index].is_none() && cell.masks.iter().all(|(_, source)| placed[*source].is_some()) {
                placed[index] = Some(order.len());
                order.push(index);
            }
        }
        if order.len() == before {
            break;
        }
    }
    if order.len() < cells.len() {
        let waiting = |index: &usize| placed[*index].is_none();
        let names: Vec<_> = (0..cells.len()).filter(waiting).take(4).map(|index| cells[index].name.clone()).collect();
        let expected = "masks that are found before they are taken; these cells wait for each other";
        problems.push(Error::invalid("[sweep] mask_of", names.join(", "), expected));
        return Vec::new();
    }
    let mut cells: Vec<Option<Cell>> = cells.into_iter().map(Some).collect();
    let ordered = order.iter().filter_map(|index| cells[*index].take());
    let renumbered = |mut cell: Cell| {
        cell.masks.iter_mut().for_each(|(_, source)| *source = placed[*source].unwrap_or_default());
        cell
    };
    ordered.map(renumbered).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn expanded(text: &str) -> (Vec<Cell>, Vec<String>) {
        let mut base: Table = text.parse().unwrap();
        let sweep = base.remove("sweep").unwrap();
        let mut problems = Vec::new();
        let grammar = Grammar::read(sweep.as_table().unwrap(), &mut problems);
        let cells = expand(&base, &grammar, &mut problems);
        (cells, problems.iter().map(ToString::to_string).collect())
    }

    fn names(cells: &[Cell]) -> Vec<&str> {
        cells.iter().map(|cell| cell.name.as_str()).collect()
    }

    #[test]
    fn cells_are_products_with_their_keys_set() {
        let (cells, problems) = expanded(
            "seed = 9\n[train]\nepochs = 3\n[sweep]\nseeds = [1, 2]\n[sweep.over]\ndata.task = ['cola', 'rte']\n\
             [[sweep.group]]\nname = 'dense'\nset.prune.method = 'dense'\n\
             [[sweep.group]]\nname = 'm'\nset = { train.updates = 5, data.path = 'glue/${task}' }\n\
             over.prune.sparsity = [0.5, 0.75]\n\
             over.method = { omp = { prune.method = '${m}', \"$m\" = 'omp' } }\n",
        );
        assert_eq!(problems, Vec::<String>::new());
        let expected = [
            "dense-cola-seed1",
            "dense-cola-seed2",
            "dense-rte-seed1",
            "dense-rte-seed2",
            "m-omp-sparsity0.5-cola-seed1",
            "m-omp-sparsity0.5-cola-seed2",
            "m-omp-sparsity0.5-rte-seed1",
            "m-omp-sparsity0.5-rte-seed2",
            "m-omp-sparsity0.75-cola-seed1",
            "m-omp-sparsity0.75-cola-seed2",
            "m-omp-sparsity0.75-rte-seed1",
            "m-omp-sparsity0.75-rte-seed2",
        ];
        assert_eq!(names(&cells), expected);
        let last = "seed = 2\n[train]\nupdates = 5\n[data]\ntask = 'rte'\npath = 'glue/rte'\n[prune]\nmethod = 'omp'\nsparsity = 0.75\n";
        assert_eq!(cells[11].table, last.parse().unwrap(), "updates take the place of epochs");
    }

    #[test]
    fn masks_of_other_cells_are_found_by_axes() {
        let (cells, problems) = expanded(
            "[sweep]\nseeds = [1, 2]\n[[sweep.group]]\nname = 'on'\nset.prune.mask.mask_of = { group = 'from', source = '${source}' }\n\
             over.source = { values = ['cola', 'rte'] }\nover.target = { key = 'data.task', values = ['cola', 'mrpc'] }\n\
             [[sweep.group]]\nname = 'from'\nover.source = { key = 'data.task', values = ['cola', 'rte'] }\n",
        );
        assert_eq!(problems, Vec::<String>::new());
        assert_eq!(
            &names(&cells)[..5],
            ["from-cola-seed1", "from-cola-seed2", "from-rte-seed1", "from-rte-seed2", "on-cola-cola-seed1"]
        );
        let of = |name: &str| {
            let cell = cells.iter().find(|cell| cell.name == name).unwrap();
            let [(key, source)] = &cell.masks[..] else { panic!("{:?}", cell.masks) };
            assert_eq!(key, "prune.mask");
            cells[*source].name.clone()
        };
        assert_eq!(of("on-rte-mrpc-seed2"), "from-rte-seed2", "the seed is the cell's own");
        assert_eq!(of("on-cola-cola-seed1"), "from-cola-seed1");
    }

    #[test]
    fn what_does_not_go_together_is_refused() {
        let problems = |text: &str| expanded(text).1.join("\n");
        let cycle = problems(
            "[sweep]\nseeds = [1]\n[[sweep.group]]\nname = 'a'\nset.prune.mask.mask_of.group = 'b'\n\
             [[sweep.group]]\nname = 'b'\nset.prune.mask.mask_of.group = 'a'\n",
        );
        assert!(cycle.contains("a-seed1, b-seed1") && cycle.contains("wait for each other"), "{cycle}");
        let none = problems("[sweep]\nset = 1\nseeds = [1]\nover.prune.mask = [{ mask_of = { group = 'b' } }]\n");
        assert!(none.contains("the mask of no cell") && none.contains("unknown key `set`"), "{none}");
        let several = problems(
            "[sweep]\nseeds = [1]\n[[sweep.group]]\nname = 'a'\nset.prune.mask.mask_of.group = 'b'\n\
             [[sweep.group]]\nname = 'b'\nover.prune.sparsity = [0.1, 0.2]\n",
        );
        assert!(several.contains("the mask of 2 cells, such as b-sparsity0.1-seed1, b-sparsity0.2-seed1"), "{several}");
        let twice = problems("[sweep]\nseeds = [1]\nover.data.path = ['a b', 'a-b']\nexclude = [{ task = 'x' }]\n");
        assert!(twice.contains("a-b-seed1 is not accepted") && twice.contains("exclude"), "{twice}");
        let axis = problems("[sweep]\nseeds = [1, 2]\nover.data.path = ['${tasks}']\n");
        assert_eq!(axis.matches("no axis or variable `tasks`").count(), 1, "{axis}");
        let many = problems(
            "[sweep]\nseeds = [1]\nover.a.b = { from = 1, to = 999, step = 1 }\nover.a.c = { from = 1, to = 999, step = 1 }\n",
        );
        assert!(many.contains("over.a"), "{many}");
        let many = problems(
            "[sweep]\nseeds = [1]\nover.prune.b = { from = 1, to = 999, step = 1 }\nover.prune.c = { from = 1, to = 999, step = 1 }\n",
        );
        assert!(many.contains("998001 cells"), "{many}");
    }

    #[test]
    fn excluded_cells_are_left_out() {
        let (cells, problems) = expanded(
            "[sweep]\nseeds = [1]\nexclude = [{ task = 'rte', sparsity = [0.5, 0.7] }]\n[sweep.over]\n\
             data.task = ['cola', 'rte']\nprune.sparsity = [0.3, 0.5, 0.7]\n",
        );
        assert_eq!(problems, Vec::<String>::new());
        assert_eq!(cells.len(), 4);
        assert!(cells.iter().all(|cell| !cell.name.contains("0.5-rte") && !cell.name.contains("rte-sparsity0.5")));
    }
}
