"""A job that is made with a change costs that change one row: no second one that tells when it was made."""

from alembic import op

revision = "0009"
down_revision = "0008"
branch_labels = None
depends_on = None

_CHANGES = """
-- When a job of ours was made is told by the job itself (scheduled_at). The queue's own jobs, which have no time, are
-- still noted as events; when a job was scheduled is of no use beside it.
DROP TRIGGER procrastinate_trigger_scheduled_events_v1 ON procrastinate_jobs;
DROP TRIGGER procrastinate_trigger_status_events_insert_v1 ON procrastinate_jobs;
CREATE TRIGGER procrastinate_trigger_status_events_insert_v1
    AFTER INSERT ON procrastinate_jobs
    FOR EACH ROW WHEN (new.status = 'todo'::procrastinate_job_status AND new.scheduled_at IS NULL)
    EXECUTE PROCEDURE procrastinate_trigger_function_status_events_insert_v1();

-- As before, but without a subtransaction. One that waits under the same queueing lock is enough; it is locked until
-- the caller commits, so that it does not start before (procrastinate skips locked jobs). One that has started
-- meanwhile waits no longer, and no conflict is found with it.
CREATE OR REPLACE FUNCTION sluss_defer(
    job_name text, args jsonb, job_queueing_lock text, job_lock text, due timestamptz
)
RETURNS void LANGUAGE sql VOLATILE AS $$
    INSERT INTO procrastinate_jobs AS waiting (queue_name, task_name, priority, lock, queueing_lock, args, scheduled_at)
    VALUES ('default', job_name, 0, job_lock, job_queueing_lock, args, coalesce(due, now()))
    ON CONFLICT (queueing_lock) WHERE status = 'todo'
    DO UPDATE SET scheduled_at = least(waiting.scheduled_at, excluded.scheduled_at)
$$;
"""


def upgrade() -> None:
    cursor = op.get_bind().connection.cursor()
    cursor.execute(_CHANGES)
    cursor.close()
