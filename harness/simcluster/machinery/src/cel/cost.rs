//! What an evaluation costs, as far as it is counted: the turns of loops.
//!
//! A real server counts every step and stops an expression that costs too much. Here a turn counts what it costs
//! there at the least, so nothing is stopped that a real server lets end, and nothing runs for ever. The costs that a
//! definition's rules could have at the most are NOT estimated.

use std::cell::Cell;

use kube_cel::cel::common::ast::{CallExpr, Expr, LiteralValue};
use kube_cel::cel::{ExecutionError, IdedExpr, Value};

/// What one expression may cost: `PerCallLimit` of the real server.
const CALL_LIMIT: i64 = 1_000_000;
/// What all rules may cost for one object: its `RuntimeCELCostBudget`.
pub(super) const BUDGET: i64 = 10_000_000;
/// What the real interpreter says when it stops.
pub(super) const EXCEEDED: &str = "operation cancelled: actual cost limit exceeded";

/// The name under which [`turn`] is offered.
pub(super) const TURN: &str = "@turn";

thread_local! {
    // An evaluation stays on its thread, and there is one at a time.
    static SPENT: Cell<i64> = const { Cell::new(0) };
}

/// The condition of a loop, made to count.
pub(super) fn counted(condition: IdedExpr) -> IdedExpr {
    // `all` and `exists` ask their result whether to go on: a call, and a variable there and in the step.
    let least = match condition.expr {
        Expr::Literal(_) => 1,
        _ => 3,
    };
    let id = condition.id;
    let least = IdedExpr {
        id,
        expr: Expr::Literal(LiteralValue::Int(least.into())),
    };
    let call = CallExpr {
        func_name: TURN.to_owned(),
        target: None,
        args: vec![condition, least],
    };
    IdedExpr {
        id,
        expr: Expr::Call(call),
    }
}

/// Counts a turn, and gives the loop's condition back.
pub(super) fn turn(condition: Value, cost: i64) -> Result<Value, ExecutionError> {
    let spent = SPENT.get().saturating_add(cost);
    SPENT.set(spent);
    if spent > CALL_LIMIT {
        return Err(ExecutionError::FunctionError {
            function: TURN.to_owned(),
            message: EXCEEDED.to_owned(),
        });
    }
    Ok(condition)
}

/// Runs an evaluation and tells what it has cost.
pub(super) fn of<T>(evaluate: impl FnOnce() -> T) -> (T, i64) {
    SPENT.set(0);
    let result = evaluate();
    (result, SPENT.get())
}
