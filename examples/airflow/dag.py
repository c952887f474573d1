"""Airflow: the task `train` only runs after the task `gate` has succeeded."""

from airflow.providers.standard.operators.bash import BashOperator  # Airflow 2: airflow.operators.bash
from airflow.sdk import DAG  # Airflow 2: from airflow import DAG

PROJECT = "/srv/project"  # where data/train, sanitizer.toml and train.py lie

with DAG("train_on_clean_data", schedule=None, catchup=False):
    # Exit code 0: within the policy.
    # Exit code 1: above the policy. The task fails; look into verdict/report.html, do not retry.
    # Exit code 2: nothing can vouch for the data (error, incomplete scan, unreadable files). The task fails as well.
    gate = BashOperator(
        task_id="gate",
        bash_command="sanitizer gate data/train --policy sanitizer.toml --out verdict",
        cwd=PROJECT,
        retries=0,  # the same data gets the same answer
        skip_on_exit_code=None,  # no code may look like anything but a failure
    )
    train = BashOperator(task_id="train", bash_command="python train.py data/train", cwd=PROJECT)

    gate >> train  # leave the trigger rule of `train` as it is: all_success
