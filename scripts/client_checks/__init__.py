"""What `check-clients` needs: a balancer that loses responses, the steps of OpenAI's client, the examples of the documentation."""
